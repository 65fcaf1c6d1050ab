-- Accounts whose people an OpenID provider vouches for: who that is, and whom it knows them as.
ALTER TABLE accounts ADD COLUMN issuer TEXT;
ALTER TABLE accounts ADD COLUMN subject TEXT;
