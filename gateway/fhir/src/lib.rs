//! The record as FHIR R4 resources, pure.
