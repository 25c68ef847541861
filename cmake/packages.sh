# shellcheck shell=sh
# SPDX-License-Identifier: BSD-3-Clause
#
# What pilot-mpi and its tests need from the system: finds out what is missing and installs it.
# Read (".") by examples/quickstart.sh and tests/run.sh; runs nothing by itself.
#
#   packages_need_build      notes what is missing to build the program
#   packages_need_tests      notes what is missing to run all tests, too
#   packages_install         installs what was noted (apt, as root or through sudo), or prints what
#                            each package manager calls it and returns 3
#
# Things are looked for by what is used of them (a command, a header, a pkg-config file), never by
# the name of a package: an MPI from a module or a CMake from conda is as good as Debian's. When
# all is there, no package manager is called.

# One word per missing thing; the tables below say what it is called where.
PACKAGES_MISSING=

packages_note() {
    case " $PACKAGES_MISSING " in
        *" $1 "*) ;;
        *) PACKAGES_MISSING="$PACKAGES_MISSING $1" ;;
    esac
}

# The directories of daemons and of administration are not in everybody's PATH.
packages_have() {
    command -v "$1" >/dev/null 2>&1 || [ -x "/usr/sbin/$1" ] || [ -x "/sbin/$1" ]
}

packages_have_lib() { # pkg-config name [at least this version]
    packages_have pkg-config || return 1
    pkg-config --exists "$1${2:+ >= $2}" 2>/dev/null
}

# clang by itself comes without the part that finds what to try next.
packages_have_libfuzzer() {
    packages_have clang && ls "$(clang -print-resource-dir)"/lib/*/libclang_rt.fuzzer* >/dev/null 2>&1
}

packages_need_build() {
    packages_have cc || packages_have gcc || packages_have clang || packages_note compiler
    packages_have cmake || packages_note cmake
    packages_have ninja || packages_have make || packages_note ninja
    packages_have pkg-config || packages_note pkg-config
    packages_have_lib libcjson || packages_note cjson
    packages_have_lib hwloc 2.0 || packages_note hwloc
    packages_have_lib sqlite3 3.24 || packages_note sqlite
    # mpirun is no part of building, but a person who tries the program will want it.
    { packages_have mpicc && packages_have mpirun; } || packages_note mpi
}

packages_need_tests() {
    packages_need_build
    packages_have_lib cmocka || packages_note cmocka
    packages_have python3 || packages_note python3
    packages_have sqlite3 || packages_note sqlite-cli
    packages_have make || packages_note make
    packages_have lmp || packages_note lammps
    packages_have valgrind || packages_note valgrind
    packages_have strace || packages_note strace
    packages_have_libfuzzer || packages_note libfuzzer
    packages_have clang-format || packages_note clang-format
    packages_have clang-tidy || packages_note clang-tidy
    packages_have cppcheck || packages_note cppcheck
    packages_have ip || packages_note iproute2
    packages_have mpirun.mpich || packages_note mpich
    packages_have mkfs.ext4 || packages_note e2fsprogs
    packages_have mkfs.btrfs || packages_note btrfs-progs
    # Slurm's parts come in several packages; one missing part is enough to ask for all.
    if ! { packages_have slurmctld && packages_have slurmd && packages_have srun &&
        packages_have munged; }; then
        packages_note slurm
    fi
    if [ -e "${PACKAGES_ROOT:-.}/tests/integration/glusterfs.sh" ]; then
        { packages_have glusterd && packages_have gluster && packages_have mount.glusterfs; } ||
            packages_note glusterfs
    fi
}

# The names. "-" where a package manager has none that would do.
packages_name() { # MANAGER THING
    case $1:$2 in
        apt:compiler) echo gcc libc6-dev ;;
        apt:cmake) echo cmake ;;
        apt:ninja) echo ninja-build ;;
        apt:pkg-config) echo pkg-config ;;
        apt:cjson) echo libcjson-dev ;;
        apt:hwloc) echo libhwloc-dev ;;
        apt:sqlite) echo libsqlite3-dev ;;
        apt:mpi) echo openmpi-bin libopenmpi-dev ;;
        apt:cmocka) echo libcmocka-dev ;;
        apt:sqlite-cli) echo sqlite3 ;;
        apt:libfuzzer) echo clang libclang-rt-dev ;;
        apt:slurm) echo slurmctld slurmd slurm-client slurm-wlm-basic-plugins munge ;;
        apt:glusterfs) echo glusterfs-server glusterfs-client ;;

        dnf:compiler) echo gcc ;;
        dnf:ninja) echo ninja-build ;;
        dnf:pkg-config) echo pkgconf-pkg-config ;;
        dnf:cjson) echo cjson-devel ;;
        dnf:hwloc) echo hwloc-devel ;;
        dnf:sqlite) echo sqlite-devel ;;
        dnf:mpi) echo openmpi openmpi-devel ;;
        dnf:cmocka) echo libcmocka-devel ;;
        dnf:sqlite-cli) echo sqlite ;;
        dnf:libfuzzer) echo clang compiler-rt ;;
        dnf:clang-format | dnf:clang-tidy) echo clang-tools-extra ;;
        dnf:iproute2) echo iproute ;;
        dnf:slurm) echo slurm-slurmctld slurm-slurmd slurm munge ;;
        dnf:glusterfs) echo glusterfs-server glusterfs-fuse ;;

        conda:compiler) echo c-compiler ;;
        conda:hwloc) echo libhwloc ;;
        conda:sqlite | conda:sqlite-cli) echo sqlite ;;
        conda:mpi) echo openmpi ;;
        conda:python3) echo python ;;
        conda:libfuzzer) echo clang compiler-rt ;;
        conda:clang-format | conda:clang-tidy) echo clang-tools ;;
        conda:iproute2 | conda:slurm | conda:glusterfs | conda:e2fsprogs | conda:btrfs-progs) echo - ;;

        spack:compiler) echo gcc ;;
        spack:pkg-config) echo pkgconf ;;
        spack:mpi) echo openmpi ;;
        spack:sqlite-cli) echo sqlite ;;
        spack:python3) echo python ;;
        spack:clang-format | spack:clang-tidy | spack:libfuzzer) echo llvm ;;
        spack:iproute2 | spack:glusterfs) echo - ;;
        spack:slurm) echo slurm munge ;;

        *) echo "$2" ;;
    esac
}

packages_names() { # MANAGER: the names of everything missing, each once
    names=
    for thing in $PACKAGES_MISSING; do
        for name in $(packages_name "$1" "$thing"); do
            case " $names " in
                *" $name "* | *" - "*) ;;
                *) [ "$name" = - ] || names="$names $name" ;;
            esac
        done
    done
    echo "${names# }"
}

packages_print() {
    echo "Missing:$PACKAGES_MISSING. Install it with the one that you have, then run this again:"
    echo "  apt:    sudo apt-get install $(packages_names apt)"
    echo "  dnf:    sudo dnf install $(packages_names dnf)"
    case $PACKAGES_MISSING in
        *mpi*) echo "          (Fedora and its relatives: then 'module load mpi/openmpi-x86_64')" ;;
    esac
    echo "  conda:  conda install -c conda-forge $(packages_names conda)"
    echo "  Spack:  spack install $(packages_names spack) && spack load $(packages_names spack)"
}

packages_apt() { # apt-get's arguments
    if [ "$(id -u)" = 0 ]; then
        DEBIAN_FRONTEND=noninteractive apt-get "$@"
    elif sudo -n true 2>/dev/null; then
        sudo -n env DEBIAN_FRONTEND=noninteractive apt-get "$@"
    elif [ -t 0 ]; then
        sudo env DEBIAN_FRONTEND=noninteractive apt-get "$@"
    else
        return 1
    fi
}

# 0: all there now; 3: something is missing and was not installed (said on standard error).
packages_install() {
    [ -n "$PACKAGES_MISSING" ] || return 0
    if ! packages_have apt-get || { [ "$(id -u)" != 0 ] && ! packages_have sudo; }; then
        packages_print >&2
        return 3
    fi
    echo "Installing with apt: $(packages_names apt)"
    # The lists of a fresh machine are empty and those of an old one name files that are gone.
    # shellcheck disable=SC2046
    if ! { packages_apt update -q && packages_apt install -q -y --no-install-recommends $(packages_names apt); }; then
        echo "apt-get did not succeed (its messages are above)." >&2
        packages_print >&2
        return 3
    fi
}
