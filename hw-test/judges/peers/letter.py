"""A signed report as a message of secure health mail, read by Python's own readers of mail, archives
and XML. Exit 0 when all is as it must be.

usage: CARDIO_FHIR_BASE=... CARDIO_FHIR_TOKEN=... REQUESTS_CA_BUNDLE=... python letter.py
"""

import base64
import email
import email.policy
import hashlib
import io
import os
import xml.etree.ElementTree as ET
import zipfile

import requests

BASE = os.environ["CARDIO_FHIR_BASE"]
CONCLUSION = "Rythme sinusal < 100, pas d'anomalie."
CDA = "{urn:hl7-org:v3}"
RIM = "{urn:oasis:names:tc:ebxml-regrep:xsd:rim:3.0}"


def main() -> None:
    session = requests.Session()
    session.headers["Authorization"] = "Bearer " + os.environ["CARDIO_FHIR_TOKEN"]
    session.headers["Content-Type"] = "application/fhir+json"
    found = session.get(f"{BASE}/DiagnosticReport?status=preliminary").json()
    report = found["entry"][0]["resource"]
    address = f"{BASE}/DiagnosticReport/{report['id']}"
    tag = {"If-Match": f'W/"{report["meta"]["versionId"]}"'}
    signed = session.post(f"{address}/$sign", json=given("conclusion", CONCLUSION), headers=tag)
    assert signed.status_code == 200, signed.text
    answer = session.post(f"{address}/$mssante", json=given("to", "medecin@autre.mssante.example"))
    assert answer.status_code == 200, answer.text

    message = email.message_from_bytes(answer.content, policy=email.policy.default)
    assert not message.defects, message.defects
    assert message["X-MSS-CODECDA"] == "11524-6" and message["X-MSS-NIL"] == "000000"
    assert message["X-MSS-INS"] == "N", "a fictitious identity counts for nothing"
    assert message["Subject"].startswith("XDM/1.0/DDM+Électrocardiogramme ESSAI VISITE "), message["Subject"]
    [archive] = message.iter_attachments()
    assert archive.get_filename() == "IHE_XDM.ZIP", archive.get_filename()
    zipped = zipfile.ZipFile(io.BytesIO(archive.get_content()))
    assert zipped.testzip() is None

    metadata = ET.fromstring(zipped.read("IHE_XDM/SUBSET01/METADATA.XML"))
    slots = {
        slot.get("name"): [value.text for value in slot.iter(f"{RIM}Value")]
        for slot in metadata.iter(f"{RIM}Slot")
    }
    document = zipped.read(f"IHE_XDM/SUBSET01/{slots['URI'][0]}")
    assert slots["hash"] == [hashlib.sha1(document).hexdigest()]
    assert slots["size"] == [str(len(document))]
    objects = {one.get("id") for one in metadata.iter() if one.get("id")}
    for association in metadata.iter(f"{RIM}Association"):
        assert association.get("sourceObject") in objects
        assert association.get("targetObject") in objects

    clinical = ET.fromstring(document)
    assert clinical.tag == f"{CDA}ClinicalDocument"
    family = clinical.find(f"{CDA}recordTarget/{CDA}patientRole/{CDA}patient/{CDA}name/{CDA}family")
    assert family.text == "ESSAI", family.text
    text = clinical.find(f"{CDA}component/{CDA}nonXMLBody/{CDA}text")
    said = base64.b64decode(text.text).decode()
    assert said.startswith(CONCLUSION), said
    print(f"python: a message of {len(answer.content)} bytes, a document of {len(document)}")


def given(name: str, value: str) -> dict:
    """The parameters of an operation."""
    return {"resourceType": "Parameters", "parameter": [{"name": name, "valueString": value}]}


if __name__ == "__main__":
    main()
