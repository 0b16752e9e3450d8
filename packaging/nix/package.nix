# The published archive as a package: its program is complete, and only finds the system's loader anew.
#
#   pkgs.callPackage ./package.nix { src = ./onboardd-0.1.0-linux-amd64.tar.gz; }
{ lib, stdenv, autoPatchelfHook, coreutils, systemd, version ? "0.1.0", src }:

stdenv.mkDerivation {
  pname = "onboardd";
  inherit version src;

  sourceRoot = ".";
  nativeBuildInputs = [ autoPatchelfHook ];
  buildInputs = [ stdenv.cc.cc.lib ];

  # The program carries its code behind its last section: stripping would take it away.
  dontStrip = true;
  dontConfigure = true;
  dontBuild = true;

  installPhase = ''
    runHook preInstall
    mkdir -p $out/bin $out/share $out/lib/systemd/system
    cp -r usr/lib/tmpfiles.d $out/lib/
    cp usr/bin/onboardd $out/bin/
    cp -r usr/share/. $out/share/
    cp usr/lib/systemd/system/onboardd* $out/lib/systemd/system/
    install -D -m 644 usr/lib/onboardd/systemd-253.conf $out/lib/systemd/system/onboardd.service.d/10-systemd-253.conf
    substituteInPlace $out/lib/systemd/system/onboardd{,-registered}.service \
      --replace-fail /usr/bin/onboardd $out/bin/onboardd
    substituteInPlace $out/lib/systemd/system/onboardd.service \
      --replace-fail /bin/kill ${coreutils}/bin/kill --replace-fail /bin/rm ${coreutils}/bin/rm
    substituteInPlace $out/lib/systemd/system/onboardd-{renewed,unregistered}.service \
      --replace-fail /bin/systemctl ${systemd}/bin/systemctl
    substituteInPlace $out/lib/systemd/system/onboardd-unregistered.service \
      --replace-fail /bin/rm ${coreutils}/bin/rm
    runHook postInstall
  '';

  meta = {
    description = "Takes a Linux device from first power-on to a registered member of a fleet";
    license = lib.licenses.asl20;
    mainProgram = "onboardd";
    platforms = [ "x86_64-linux" "aarch64-linux" ];
  };
}
