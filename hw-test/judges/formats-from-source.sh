#!/bin/sh
# Builds the judges of recordings that no package holds, from their public repositories:
# rdsamp, rdann and parsescp of the WFDB software, the C# ECG Toolkit, the schema of HL7 aECG.
#
# usage: hw-test/judges/formats-from-source.sh DIR
#
# Then: CARDIO_JUDGES_BUILT=DIR hw-test/judges/formats.sh
# Needs git that reaches the repositories, or clones of them as DIR/sources/{wfdb,ecgtoolkit,aecg};
# cc, and mono with mcs (mono-mcs, mono-runtime,
# libmono-system-{data,drawing,windows-forms,xml}4.0-cil).
# Exit status: 0 all built, 75 when a repository cannot be reached, 1 when building fails.
set -eu

out=${1:?usage: formats-from-source.sh DIR}
mkdir -p "$out/sources" "$out/ecgtk" "$out/aecg"
out=$(CDPATH='' cd -- "$out" && pwd)
cd "$out/sources"

take() {
    [ -d "$2" ] || timeout 120 git clone --quiet --depth 1 "https://github.com/$1" "$2" || {
        echo "the repository $1 cannot be reached"
        exit 75
    }
}
take bemoody/wfdb wfdb
take Refactoring/ECGToolkit ecgtoolkit
take FDA/aecg-python aecg

# The WFDB library without its network part; its headers are templates of its own make.
mkdir -p include/wfdb
for header in wfdb wfdblib; do
    sed -e 's/WFDBMAJOR/10/; s/WFDBMINOR/7/; s/WFDBRELEASE/0/' \
        -e 's/^#define WFDB_NETFILES .*/#define WFDB_NETFILES 0/' \
        -e 's/^#define WFDB_NETFILES_LIBCURL .*/#define WFDB_NETFILES_LIBCURL 0/' \
        "wfdb/lib/$header.h0" >"include/wfdb/$header.h"
done
cp wfdb/lib/ecgcodes.h wfdb/lib/ecgmap.h include/wfdb/
for program in app/rdsamp app/rdann convert/parsescp; do
    cc -O2 -w -Iinclude -Iinclude/wfdb "wfdb/$program.c" wfdb/lib/*.c -lm \
        -o "$out/${program#*/}"
done

library() {
    mcs -unsafe -warn:0 -target:library -out:"$out/ecgtk/$1.dll" -r:System.Data -r:System.Drawing \
        -r:System.Windows.Forms -r:System.Xml ${2:+-r:"$out/ecgtk/$2.dll"} \
        -recurse:"ecgtoolkit/libs/ECGConversion/$1/*.cs"
}
library ECGConversion
library aECG ECGConversion
library ISHNE ECGConversion
library MUSEXML ECGConversion
mcs -warn:0 -out:"$out/ecgtk/ECGTool.exe" -r:"$out/ecgtk/ECGConversion.dll" \
    ecgtoolkit/apps/ECGTool/ECGTool.cs

cp -r "aecg/src/aecg/data/hl7/2003-12 Schema/." "$out/aecg/"
