/** What is used of pkcs11js, which lies in the optional part and not in this project's node_modules. */
declare module 'pkcs11js' {
  type Handle = Buffer;
  interface Attribute {
    readonly type: number;
    readonly value?: Buffer | boolean | number | string;
  }
  interface TokenInfo {
    readonly label: string;
    readonly serialNumber: string;
    readonly manufacturerID: string;
    readonly model: string;
    readonly flags: number;
  }
  class PKCS11 {
    load(path: string): void;
    C_Initialize(options?: { flags?: number }): void;
    C_Finalize(): void;
    C_GetSlotList(tokenPresent?: boolean): Handle[];
    C_GetTokenInfo(slot: Handle): TokenInfo;
    C_OpenSession(slot: Handle, flags: number): Handle;
    C_CloseSession(session: Handle): void;
    C_GetSessionInfo(session: Handle): { readonly state: number };
    C_Login(session: Handle, userType: number, pin?: string): void;
    C_FindObjectsInit(session: Handle, template: readonly Attribute[]): void;
    C_FindObjects(session: Handle, maxObjectCount: number): Handle[];
    C_FindObjectsFinal(session: Handle): void;
    C_GetAttributeValue(
      session: Handle,
      object: Handle,
      template: readonly Attribute[],
    ): { readonly value: Buffer }[];
    C_SetAttributeValue(session: Handle, object: Handle, template: readonly Attribute[]): void;
    C_DestroyObject(session: Handle, object: Handle): void;
    C_GenerateKeyPairAsync(
      session: Handle,
      mechanism: { readonly mechanism: number },
      publicTemplate: readonly Attribute[],
      privateTemplate: readonly Attribute[],
    ): Promise<{ readonly publicKey: Handle; readonly privateKey: Handle }>;
    C_SignInit(session: Handle, mechanism: { readonly mechanism: number }, key: Handle): void;
    C_SignAsync(session: Handle, data: Buffer, out: Buffer): Promise<Buffer>;
  }
  const library: Readonly<Record<string, number>> & { readonly PKCS11: typeof PKCS11 };

  export type { Attribute, Handle, PKCS11, TokenInfo };
  export default library;
}
