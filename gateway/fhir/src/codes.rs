//! Addresses of code systems, profiles and extensions, each written once.
//!
//! Codes of the leads live with the leads (`cardio_core::lead`). Deliberately absent: codes
//! for which no published source was read.

/// Base of everything the product names itself.
pub const OWN_BASE: &str = "https://ess-cardio.example/fhir";

/// LOINC.
pub const LOINC: &str = "http://loinc.org";
/// ISO/IEEE 11073-10101 nomenclature.
pub const MDC: &str = "urn:iso:std:iso:11073:10101";
/// Units.
pub const UCUM: &str = "http://unitsofmeasure.org";

/// HL7 observation categories.
pub const OBSERVATION_CATEGORY: &str = "http://terminology.hl7.org/CodeSystem/observation-category";
/// Category that every observation of a personal health device carries.
pub const PHD_CATEGORY: &str = "http://hl7.org/fhir/uv/phd/CodeSystem/PhdObservationCategories";
/// Status of a measurement (ISO/IEEE 11073); the address is the one that PHD 2.0.0 fixes.
pub const MEASUREMENT_STATUS: &str = "http://hl7.org/fhir/uv/pocd/CodeSystem/measurement-status";
/// Reliability of an observation, as a security label.
pub const OBSERVATION_VALUE: &str = "http://terminology.hl7.org/CodeSystem/v3-ObservationValue";
/// Reasons of acts; holds the label of test data.
pub const ACT_REASON: &str = "http://terminology.hl7.org/CodeSystem/v3-ActReason";
/// Why a value is absent.
pub const DATA_ABSENT_REASON: &str = "http://terminology.hl7.org/CodeSystem/data-absent-reason";
/// Clinical interpretation.
pub const INTERPRETATION: &str =
    "http://terminology.hl7.org/CodeSystem/v3-ObservationInterpretation";
/// Sections of diagnostic services.
pub const DIAGNOSTIC_SECTION: &str = "http://terminology.hl7.org/CodeSystem/v2-0074";
/// Confidentiality labels.
pub const CONFIDENTIALITY: &str = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality";
/// Kinds of device identifiers of the Continua guidelines.
pub const CONTINUA_IDENTIFIERS: &str =
    "http://terminology.hl7.org/CodeSystem/ContinuaDeviceIdentifiers";

/// System of an EUI-64 device identifier (SYSID).
pub const EUI64: &str = "urn:oid:1.2.840.10004.1.1.1.0.0.1.0.0.1.2680";
/// System of a Bluetooth device address (BTMAC).
pub const BLUETOOTH_MAC: &str = "http://hl7.org/fhir/sid/eui-48/bluetooth";
/// System of an Ethernet address (ETHMAC).
pub const ETHERNET_MAC: &str = "http://hl7.org/fhir/sid/eui-48/ethernet";

/// Extension: the box that passed an observation on.
pub const EXT_GATEWAY_DEVICE: &str =
    "http://hl7.org/fhir/StructureDefinition/observation-gatewayDevice";
/// Extension: the observation that ties the sensor's clock to the box's.
pub const EXT_COINCIDENT_TIME: &str =
    "http://hl7.org/fhir/uv/phd/StructureDefinition/CoincidentTimeStampReference";
/// Extension: why an element has no value.
pub const EXT_DATA_ABSENT: &str = "http://hl7.org/fhir/StructureDefinition/data-absent-reason";

/// Profile of the box.
pub const PROFILE_PHG: &str = "http://hl7.org/fhir/uv/phd/StructureDefinition/PhgDevice";
/// Profile of a sensor.
pub const PROFILE_PHD: &str = "http://hl7.org/fhir/uv/phd/StructureDefinition/PhdDevice";
/// Profile of a coincident time stamp.
pub const PROFILE_CLOCK: &str =
    "http://hl7.org/fhir/uv/phd/StructureDefinition/PhdCoincidentTimeStampObservation";
/// Profile of a sample array of one lead.
pub const PROFILE_RTSA: &str = "http://hl7.org/fhir/uv/phd/StructureDefinition/PhdRtsaObservation";
/// Profile of a number.
pub const PROFILE_NUMERIC: &str =
    "http://hl7.org/fhir/uv/phd/StructureDefinition/PhdNumericObservation";
/// Profile of a heart rate in FHIR itself.
pub const PROFILE_HEART_RATE: &str = "http://hl7.org/fhir/StructureDefinition/heartrate";
/// System of the identifier that makes filing of a personal health device's observation
/// repeatable.
pub const PHD_BASE_OBSERVATION: &str =
    "http://hl7.org/fhir/uv/phd/StructureDefinition/PhdBaseObservation";

/// French core profile of a patient.
pub const PROFILE_FR_PATIENT: &str =
    "https://hl7.fr/ig/fhir/core/StructureDefinition/fr-core-patient";
/// French core profile of a patient with a national health identity.
pub const PROFILE_FR_PATIENT_INS: &str =
    "https://hl7.fr/ig/fhir/core/StructureDefinition/fr-core-patient-ins";
/// French kinds of identifiers.
pub const FR_IDENTIFIER_TYPE: &str = "https://hl7.fr/ig/fhir/core/CodeSystem/fr-core-cs-v2-0203";
/// French identity status as of 2.1.0.
pub const FR_IDENTITY_STATUS: &str = "https://hl7.fr/ig/fhir/core/CodeSystem/fr-core-cs-v2-0445";
/// French identity status as of 2.2.0-ballot, for what 2.1.0 has no word for.
pub const FR_IDENTITY_STATUS_2_2: &str =
    "https://hl7.fr/ig/fhir/core/CodeSystem/fr-core-cs-identity-status";
/// Extension: how far an identity is to be trusted.
pub const EXT_FR_IDENTITY: &str =
    "https://hl7.fr/ig/fhir/core/StructureDefinition/fr-core-identity-reliability";
/// Extension: place of birth.
pub const EXT_BIRTH_PLACE: &str = "http://hl7.org/fhir/StructureDefinition/patient-birthPlace";
/// Extension: INSEE code of a place.
pub const EXT_FR_INSEE: &str =
    "https://hl7.fr/ig/fhir/core/StructureDefinition/fr-core-address-insee-code";
/// Extension: all given names of the birth certificate.
pub const EXT_FR_BIRTH_GIVEN: &str =
    "https://hl7.fr/ig/fhir/core/StructureDefinition/fr-core-patient-birth-list-given-name";
/// French communes.
pub const FR_COMMUNE: &str = "https://mos.esante.gouv.fr/NOS/TRE_R13-Commune/FHIR/TRE-R13-Commune";
/// HL7 kinds of identifiers.
pub const V2_IDENTIFIER_TYPE: &str = "http://terminology.hl7.org/CodeSystem/v2-0203";
/// Codes and systems of the product itself, below [`OWN_BASE`].
pub mod own {
    /// Names a constant below the product's own base.
    macro_rules! below {
        ($($(#[$doc:meta])* $name:ident = $path:literal;)*) => {
            $($(#[$doc])* pub const $name: &str = concat!("https://ess-cardio.example/fhir/", $path);)*
        };
    }
    below! {
        /// Names of records: one UUID for ever.
        SID_RECORD = "sid/record";
        /// Names of boxes.
        SID_BOX = "sid/box";
        /// Names of sensors, as a box's configuration calls them.
        SID_SENSOR = "sid/sensor";
        /// Names of exams.
        SID_EXAM = "sid/exam";
        /// Names of accounts.
        SID_ACCOUNT = "sid/account";
        /// Names of gateways.
        SID_SERVER = "sid/server";
        /// Names of alerts.
        SID_ALERT = "sid/alert";
        /// Names of the tasks of alerts.
        SID_ALERT_TASK = "sid/alert-task";
        /// Positions in the chains of boxes.
        SID_CHAIN = "sid/chain";
        /// Local record numbers of patients.
        SID_IPP = "sid/ipp";
        /// Operations of this server, followed by their names.
        OPERATION = "OperationDefinition/";
        /// Categories of observations that HL7 has no word for.
        OBSERVATION_CATEGORY = "CodeSystem/observation-category";
        /// What a quality observation and its components measure.
        QUALITY_METRIC = "CodeSystem/quality-metric";
        /// Algorithms of quality, with their version.
        QUALITY_METHOD = "CodeSystem/quality-method";
        /// Verdicts of quality.
        QUALITY_CLASS = "CodeSystem/quality-class";
        /// Facts about a recording: gaps, their length and cause.
        RECORDING_METRIC = "CodeSystem/recording-metric";
        /// Causes of gaps.
        GAP_CAUSE = "CodeSystem/gap-cause";
        /// Electrodes, by their IEC letter.
        ELECTRODE = "CodeSystem/electrode";
        /// Why an analysis gave no answer.
        UNDETERMINED = "CodeSystem/undetermined";
        /// Kinds of documents.
        DOCUMENT_TYPE = "CodeSystem/document-type";
        /// Conditions that raise an alert.
        ALERT_CODE = "CodeSystem/alert-code";
        /// Where an alert is in its life.
        ALERT_STATUS = "CodeSystem/alert-status";
        /// Why an alert needs nobody any more.
        ALERT_CLOSE_REASON = "CodeSystem/alert-close-reason";
        /// Figures of the team.
        INDICATOR = "CodeSystem/indicator";
        /// The measure that they belong to.
        TEAM_INDICATORS = "Measure/team-indicators";
        /// Extension: the lead that a component is about, as its MDC code.
        EXT_LEAD = "StructureDefinition/lead";
        /// Extension: the algorithm behind a number, as name/version.
        EXT_ALGORITHM = "StructureDefinition/algorithm";
        /// Extension: the window of signal that a number was drawn from.
        EXT_WINDOW = "StructureDefinition/window";
        /// Extension: the times that a clock stated which nothing vouches for.
        EXT_STATED_TIME = "StructureDefinition/stated-time";
        /// Extension: how far the stated time may lie from the true one, on either side.
        EXT_TIME_ERROR = "StructureDefinition/time-error";
        /// Extension: between which instants a time lies that is filed as unknown.
        EXT_TIME_BOUNDS = "StructureDefinition/time-bounds";
        /// Extension: the exact sampling rate, where the period has no finite decimal.
        EXT_SAMPLING_RATE = "StructureDefinition/sampling-rate";
    }
}
