include $(sort $(wildcard $(BR2_EXTERNAL_ONBOARDD_PATH)/package/*/*.mk))
