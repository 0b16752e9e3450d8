# The published archive as a Nix package, and a NixOS module for it.
{
  description = "onboardd, which takes a Linux device from first power-on to a registered member of a fleet";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-25.05";

  outputs = { self, nixpkgs }: {
    nixosModules.default = import ./module.nix;

    lib = {
      # packageOf pkgs ./onboardd-0.1.0-linux-amd64.tar.gz
      packageOf = pkgs: src: pkgs.callPackage ./package.nix { inherit src; };
    };
  };
}
