SUMMARY = "Onboarding agent: from first power-on to a registered fleet member"
LICENSE = "Apache-2.0"
LIC_FILES_CHKSUM = "file://${COMMON_LICENSE_DIR}/Apache-2.0;md5=89aea4e17d99a7cacdbeed46a0096b10"

# The version in the name of the archive in files/, made by `npm run package`.
ONBOARDD_VERSION ??= "0.1.0"
PV = "${@d.getVar('ONBOARDD_VERSION').replace('~', '-')}"

ONBOARDD_ARCH:x86-64 = "amd64"
ONBOARDD_ARCH:aarch64 = "arm64"
COMPATIBLE_HOST = "(x86_64|aarch64).*-linux"

SRC_URI = "file://onboardd-${ONBOARDD_VERSION}-linux-${ONBOARDD_ARCH}.tar.gz;subdir=tree"
S = "${WORKDIR}/tree"

inherit systemd useradd features_check

# The units lie below /usr/lib, and find the program by its path.
REQUIRED_DISTRO_FEATURES = "systemd usrmerge"

SYSTEMD_SERVICE:${PN} = "onboardd.service onboardd-registered.path"
USERADD_PACKAGES = "${PN}"
USERADD_PARAM:${PN} = "--system --home-dir /var/lib/onboardd --no-create-home --shell /sbin/nologin --user-group onboardd"

do_configure[noexec] = "1"
do_compile[noexec] = "1"

do_install() {
	install -d ${D}/usr ${D}${sysconfdir}
	cp -R --no-dereference --preserve=mode,links ${S}/usr/. ${D}/usr/
	cp -R --no-dereference --preserve=mode,links ${S}/etc/. ${D}${sysconfdir}/
	# useradd makes the user; Debian's override is of no use here.
	rm -rf ${D}/usr/lib/sysusers.d ${D}/usr/share/lintian
	# systemd 253 and newer: see docs/install.md.
	if [ -n "${ONBOARDD_SYSTEMD_253}" ]; then
		install -d ${D}/usr/lib/systemd/system/onboardd.service.d
		ln -sf /usr/lib/onboardd/systemd-253.conf ${D}/usr/lib/systemd/system/onboardd.service.d/10-systemd-253.conf
	fi
	chown -R root:root ${D}/usr ${D}${sysconfdir}
}

# Scarthgap has systemd 255; set it empty for kirkstone and langdale.
ONBOARDD_SYSTEMD_253 ?= "1"

FILES:${PN} += "/usr/lib/onboardd /usr/lib/systemd /usr/lib/tmpfiles.d /usr/share"
CONFFILES:${PN} = "${sysconfdir}/default/onboardd"
RDEPENDS:${PN} = "libstdc++ libgcc util-linux-flock"

# The program carries its code behind its last section: stripping it, or splitting debug information off, breaks it.
INHIBIT_PACKAGE_STRIP = "1"
INHIBIT_PACKAGE_DEBUG_SPLIT = "1"
INHIBIT_SYSROOT_STRIP = "1"
INSANE_SKIP:${PN} = "already-stripped"
