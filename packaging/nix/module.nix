# NixOS module: imports = [ ./packaging/nix/module.nix ]; then
#
#   services.onboardd = {
#     enable = true;
#     package = pkgs.callPackage ./packaging/nix/package.nix { src = ./onboardd-0.1.0-linux-arm64.tar.gz; };
#     settings = { provisioning.url = "http://192.168.1.10"; device.type = "mobile"; };
#   };
#
# The units are those that the package brings, so that they stay the same on every system.
{ config, lib, pkgs, ... }:

let
  cfg = config.services.onboardd;
  json = pkgs.formats.json { };
  configFile = json.generate "onboardd.json" cfg.settings;
in
{
  options.services.onboardd = {
    enable = lib.mkEnableOption "onboardd, which takes this device from first power-on to a registered fleet member";

    package = lib.mkOption {
      type = lib.types.package;
      description = "The package, made by package.nix from the published archive.";
    };

    settings = lib.mkOption {
      inherit (json) type;
      default = { };
      example = {
        provisioning.url = "http://192.168.1.10";
        device.type = "mobile";
      };
      description = ''
        The configuration, by the keys of onboardd(8). It lands in the world-readable store: secrets are for
        {option}`services.onboardd.credentials`.
      '';
    };

    credentials = lib.mkOption {
      type = lib.types.attrsOf lib.types.path;
      default = { };
      example = { "provisioning.token" = "/run/secrets/provisioning-token"; };
      description = "Secrets, by name: `provisioning.token` and `provisioning.ca`, read through LoadCredential=.";
    };

    readWritePaths = lib.mkOption {
      type = lib.types.listOf lib.types.str;
      default = [ ];
      example = [ "/var/lib/fogdata" ];
      description = "Folders outside the state directory that `exports` writes to.";
    };
  };

  config = lib.mkIf cfg.enable {
    assertions = [
      {
        assertion = cfg.settings ? provisioning.url && cfg.settings ? device.type;
        message = "services.onboardd.settings needs provisioning.url and device.type";
      }
    ];

    environment.systemPackages = [ cfg.package ];
    environment.etc."onboardd/config.json".source = configFile;

    users.users.onboardd = {
      isSystemUser = true;
      group = "onboardd";
      home = "/var/lib/onboardd";
      description = "onboardd, the onboarding agent";
    };
    users.groups.onboardd = { };

    systemd.packages = [ cfg.package ];
    systemd.tmpfiles.packages = [ cfg.package ];
    systemd.services.onboardd = {
      wantedBy = [ "multi-user.target" ];
      restartTriggers = [ configFile ];
      # flock(1), and systemd-notify(1), which the daemon calls.
      path = [ pkgs.util-linux config.systemd.package ];
      serviceConfig = {
        # The module itself asks for the configuration.
        ExecCondition = "";
        LoadCredential = lib.mapAttrsToList (name: file: "${name}:${file}") cfg.credentials;
        ReadWritePaths = cfg.readWritePaths;
      };
    };
    systemd.paths.onboardd-registered.wantedBy = [ "multi-user.target" ];
  };
}
