export interface NodePart {
  readonly 'bom-ref': string;
  readonly name: string;
  readonly version: string;
  readonly cpe?: string;
  readonly purl: string;
}
export function nodeParts(versions: Readonly<Record<string, string>>): NodePart[];
