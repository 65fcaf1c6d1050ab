//! Auscultation sites on the chest.

/// Where a stethoscope was held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AuscultationSite {
    /// Second right intercostal space.
    Aortic,
    /// Second left intercostal space.
    Pulmonary,
    /// Third left intercostal space, Erb's point.
    Erb,
    /// Lower left sternal border.
    Tricuspid,
    /// Apex.
    Mitral,
}

impl AuscultationSite {
    /// All sites, in the order in which a nurse visits them.
    pub const ALL: [Self; 5] = [
        Self::Aortic,
        Self::Pulmonary,
        Self::Erb,
        Self::Tricuspid,
        Self::Mitral,
    ];

    /// Stable name in configuration, logs and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Aortic => "aortic",
            Self::Pulmonary => "pulmonary",
            Self::Erb => "erb",
            Self::Tricuspid => "tricuspid",
            Self::Mitral => "mitral",
        }
    }

    /// The site of a stable name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|site| site.name() == name)
    }
}
