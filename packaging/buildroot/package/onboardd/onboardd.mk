################################################################################
#
# onboardd
#
################################################################################

ONBOARDD_VERSION = $(call qstrip,$(BR2_PACKAGE_ONBOARDD_VERSION))
ONBOARDD_ARCH = $(if $(BR2_aarch64),arm64,amd64)
ONBOARDD_SOURCE = onboardd-$(ONBOARDD_VERSION)-linux-$(ONBOARDD_ARCH).tar.gz
ONBOARDD_SITE = $(BR2_EXTERNAL_ONBOARDD_PATH)/package/onboardd
ONBOARDD_SITE_METHOD = file
ONBOARDD_STRIP_COMPONENTS = 0
ONBOARDD_LICENSE = Apache-2.0
ONBOARDD_LICENSE_FILES = usr/share/doc/onboardd/copyright
# The program carries its code behind its last section: stripping breaks it. There is no list of such files for a
# package: add it to the configuration, BR2_STRIP_EXCLUDE_FILES="onboardd".
ifeq ($(BR2_PACKAGE_ONBOARDD)$(findstring onboardd,$(BR2_STRIP_EXCLUDE_FILES)),y)
ifeq ($(BR2_STRIP_strip),y)
$(error onboardd must not be stripped: set BR2_STRIP_EXCLUDE_FILES="onboardd")
endif
endif

define ONBOARDD_INSTALL_TARGET_CMDS
	mkdir -p $(TARGET_DIR)/usr $(TARGET_DIR)/etc
	cp -a $(@D)/usr/. $(TARGET_DIR)/usr/
	cp -a $(@D)/etc/. $(TARGET_DIR)/etc/
	rm -rf $(TARGET_DIR)/usr/share/lintian
	mkdir -p $(TARGET_DIR)/usr/lib/systemd/system/onboardd.service.d
	ln -sf /usr/lib/onboardd/systemd-253.conf \
		$(TARGET_DIR)/usr/lib/systemd/system/onboardd.service.d/10-systemd-253.conf
endef

define ONBOARDD_USERS
	onboardd -1 onboardd -1 * /var/lib/onboardd /bin/false - onboarding agent
endef

$(eval $(generic-package))
