import { isDockerPart } from './readLog.ts';

/** Cuts the bytes of a log into blocks of whole lines, so that each can be read by itself, in any order. */
export interface BlockCutter {
  /** @returns the blocks that are complete; a null stands for a line that is longer than a block */
  push(chunk: Uint8Array): Iterable<Uint8Array<ArrayBuffer> | null>;
  /** @returns the last block, whose last line may lack its newline */
  end(): Uint8Array<ArrayBuffer> | null;
  /** Takes back a block that was read, so that its memory is used again. */
  reuse(block: Uint8Array<ArrayBuffer>): void;
}

const newline = 0x0a;
export const blockBytes = 2 * 1024 * 1024;

/** @param size of a block, bytes; larger than any line that onboardd writes */
export function newBlockCutter(size: number = blockBytes): BlockCutter {
  let block = new Uint8Array(size);
  let filled = 0;
  let isDropping = false;
  let spare: Uint8Array<ArrayBuffer> | null = null;

  /** @returns null: there is no newline in it */
  function cut(): Uint8Array<ArrayBuffer> | null {
    const end = endOfWhole(block, filled);
    if (end === 0) return null;
    const whole = block.subarray(0, end);
    block = spare ?? new Uint8Array(size);
    spare = null;
    block.set(new Uint8Array(whole.buffer, end, filled - end));
    filled -= end;
    return whole;
  }

  function* take(chunk: Uint8Array): Generator<Uint8Array<ArrayBuffer> | null> {
    let at = 0;
    while (at < chunk.length) {
      if (isDropping) {
        const end = chunk.indexOf(newline, at);
        if (end < 0) return;
        isDropping = false;
        at = end + 1;
      }
      const amount = Math.min(size - filled, chunk.length - at);
      block.set(chunk.subarray(at, at + amount), filled);
      filled += amount;
      at += amount;
      if (filled < size) continue;
      const whole = cut();
      yield whole;
      if (whole === null) [filled, isDropping] = [0, true];
    }
  }

  return {
    push: take,
    reuse({ buffer }) {
      // One that went to another thread is empty.
      if (buffer.byteLength === size) spare = new Uint8Array(buffer);
    },
    end() {
      const rest = filled > 0 ? block.subarray(0, filled) : null;
      block = new Uint8Array(0);
      return rest;
    },
  };
}

/** @returns behind the last newline that ends a line, and no part of one; 0 if there is none */
function endOfWhole(bytes: Uint8Array, filled: number): number {
  const last = bytes.lastIndexOf(newline, filled - 1) + 1;
  for (let end = last; end > 0; ) {
    const begin = end < 2 ? 0 : bytes.lastIndexOf(newline, end - 2) + 1;
    if (!isDockerPart(bytes, begin, end - 1)) return end;
    end = begin;
  }
  // So many parts are no line of onboardd.
  return last;
}
