export declare function natsServer(options?: {
  log?: (line: string) => void;
  into?: string;
}): Promise<string>;
/** Where what is fetched lies */
export declare const toolsDir: string;
/** Downloads a Debian package into a folder. @returns its path. @throws {Error} if it cannot be had */
export declare function download(dir: string, name: string): Promise<string>;
