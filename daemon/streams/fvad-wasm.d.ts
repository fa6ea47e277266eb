/** The part of the WebRTC voice-activity detector's WASM module that is used; the package ships no types. */
declare module '@echogarden/fvad-wasm' {
  export interface FvadModule {
    readonly HEAP16: Int16Array;
    _malloc(sizeBytes: number): number;
    _free(pointer: number): void;
    _fvad_new(): number;
    _fvad_free(handle: number): void;
    _fvad_reset(handle: number): void;
    _fvad_set_mode(handle: number, mode: number): number;
    _fvad_set_sample_rate(handle: number, rate: number): number;
    /** 1 speech, 0 none, -1 a frame length that is not 10, 20 or 30 ms. */
    _fvad_process(handle: number, samples: number, length: number): number;
  }
  export default function fvad(): Promise<FvadModule>;
}
