export declare function natsServer(options?: { log?: (line: string) => void }): Promise<string>;
