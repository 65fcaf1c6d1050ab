"""The record as fhirclient reads it: its models refuse what is no R4. Exit 0 when all is as it
must be.

usage: CARDIO_FHIR_BASE=... CARDIO_FHIR_TOKEN=... REQUESTS_CA_BUNDLE=... python client.py
"""

import os

from fhirclient import client
from fhirclient.models import capabilitystatement, fhirabstractbase
from fhirclient.models.bundle import Bundle
from fhirclient.models.observation import Observation
from fhirclient.models.patient import Patient


def main() -> None:
    smart = client.FHIRClient(
        settings={"app_id": "judge", "api_base": os.environ["CARDIO_FHIR_BASE"]}
    )
    server = smart.server
    server.session.headers["Authorization"] = "Bearer " + os.environ["CARDIO_FHIR_TOKEN"]

    capabilities = capabilitystatement.CapabilityStatement.read_from("metadata", server)
    kinds = [one.type for one in capabilities.rest[0].resource]
    read = 0
    for kind in kinds:
        page = Bundle.read_from(f"{kind}?_count=100", server)
        while page is not None:
            for entry in page.entry or []:
                # Each was parsed by the model of its type; what that knows goes back whole.
                assert entry.resource.resource_type == kind, entry.resource.resource_type
                assert isinstance(entry.resource.as_json(), dict)
                read += 1
            following = [link.url for link in page.link or [] if link.relation == "next"]
            page = Bundle.read_from(following[0], server) if following else None
    assert read > 10, read

    [patient] = Patient.where(struct={}).perform_resources(server)
    search = Observation.where(struct={"subject": f"Patient/{patient.id}", "_sort": "date"})
    observations = search.perform_resources(server)
    assert observations, "no observation of the patient"
    begins = [begin(one) for one in observations]
    assert begins == sorted(begins), "observations are not in the order of their dates"
    again = Observation.read(observations[0].id, server)
    assert again.as_json() == observations[0].as_json()
    print(f"fhirclient: {read} resources of {len(kinds)} types, {len(observations)} observations in order")


def begin(observation: Observation):
    """When an observation begins."""
    if observation.effectivePeriod is not None:
        return observation.effectivePeriod.start.date
    return observation.effectiveDateTime.date


if __name__ == "__main__":
    assert issubclass(Patient, fhirabstractbase.FHIRAbstractBase)
    main()
