export declare function natsServer(options?: {
  log?: (line: string) => void;
  into?: string;
}): Promise<string>;
