import type { KV, NatsConnection } from 'nats';

/** What the fleet manager remembers of the devices: each registers exactly once, whoever asks, however often. */
export interface Registry {
  /** False where the device was there already, unless it is there by this very request (`mark`), delivered again. */
  create(id: string, mark: string): Promise<boolean>;
  has(id: string): Promise<boolean>;
  /** Forgets a device, which may then register anew. */
  forget(id: string): Promise<void>;
}

/** In a JetStream key-value bucket: outlives the manager and the server. */
export async function bucketRegistry(connection: NatsConnection, replicas: number): Promise<Registry> {
  const bucket = await connection.jetstream().views.kv('DEVICES', { replicas });
  return {
    async create(id, mark) {
      try {
        await bucket.create(id, mark);
        return true;
      } catch (error) {
        const present = await storedValue(bucket, id);
        if (present === undefined) throw error;
        return present === mark;
      }
    },
    has: async (id) => (await storedValue(bucket, id)) !== undefined,
    forget: (id) => bucket.purge(id),
  };
}

export function memoryRegistry(): Registry {
  const marks = new Map<string, string>();
  return {
    async create(id, mark) {
      const isNew = !marks.has(id);
      if (isNew) marks.set(id, mark);
      return isNew || marks.get(id) === mark;
    },
    has: async (id) => marks.has(id),
    async forget(id) {
      marks.delete(id);
    },
  };
}

async function storedValue(bucket: KV, id: string): Promise<string | undefined> {
  const entry = await bucket.get(id);
  return entry?.operation === 'PUT' ? entry.string() : undefined;
}
