export function bundled(): { name: string; version: string; integrity: string }[];
export function licences(architecture: string): string;
export function billOfMaterials(architecture: string, version: string, date: string): string;
