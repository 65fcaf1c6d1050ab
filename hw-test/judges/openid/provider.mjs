// An OpenID provider that nobody here wrote, in memory, over TLS: npm `oidc-provider`, with its
// own pages for logging in, which believe any password.
//
// usage: node provider.mjs MODULES PORT CERTIFICATE KEY GATEWAY KID ALGORITHM
//
// It signs with keys made at its start: for log-ins with ALGORITHM, for access tokens with ES256.
import { generateKeyPairSync } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const [modules, port, certificate, key, gateway, kid, algorithm] = process.argv.slice(2);
const entry = join(modules, 'node_modules/oidc-provider/lib/index.js');
const { default: Provider, errors } = await import(pathToFileURL(entry));

function made(kind, options, name) {
  const jwk = generateKeyPairSync(kind, options).privateKey.export({ format: 'jwk' });
  return { ...jwk, use: 'sig', kid: `${kid}-${name}` };
}

const audiences = ['https://gateway.example/fhir', 'https://elsewhere.example'];
const issuer = `https://localhost:${port}`;
const provider = new Provider(issuer, {
  jwks: {
    keys: [
      made('rsa', { modulusLength: 2048 }, 'rsa'),
      made('ec', { namedCurve: 'P-256' }, 'ec'),
      made('ed25519', {}, 'ed'),
    ],
  },
  enabledJWA: { idTokenSigningAlgValues: ['RS256', 'ES256', 'EdDSA'] },
  clients: [
    {
      client_id: 'cardio-gateway',
      client_secret: 'a secret: 100% of the rig',
      redirect_uris: [`${gateway}/session/openid/back`],
      id_token_signed_response_alg: algorithm,
    },
    {
      client_id: 'dispatch',
      client_secret: 'of-the-program',
      redirect_uris: [],
      response_types: [],
      grant_types: ['client_credentials'],
    },
  ],
  // Claims stand in the ID token itself.
  conformIdTokenClaims: false,
  claims: { openid: ['sub', 'groups'] },
  findAccount: (_, id) => ({
    accountId: id,
    claims: () => ({ sub: id, groups: id === 'alice' ? ['nurses of a'] : ['others'] }),
  }),
  extraTokenClaims: () => ({ groups: ['nurses of a'] }),
  features: {
    clientCredentials: { enabled: true },
    resourceIndicators: {
      enabled: true,
      getResourceServerInfo(_, resource) {
        if (!audiences.includes(resource)) throw new errors.InvalidTarget();
        return {
          scope: '',
          audience: resource,
          accessTokenFormat: 'jwt',
          jwt: { sign: { alg: 'ES256' } },
        };
      },
    },
  },
});

const tls = { cert: readFileSync(certificate), key: readFileSync(key) };
createServer(tls, provider.callback()).listen(Number(port), '127.0.0.1');
