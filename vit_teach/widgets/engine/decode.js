/* From a picture's file to its pixels: the part of the engine after edit.js.

   A Blob is decoded where the model runs, so that the page does not wait. Its size is read from the
   first bytes, so that a picture too large is refused before anything is decoded:

     const bitmap = await decodePicture(blob); // rejects with an Error: why not */

const HEAD = 2 ** 21; // bytes in which the size must stand: a JPEG may carry much before it

const viewOf = (bytes) => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

/* The size in a JPEG: segments, of which one of the kind "start of frame" has it. */
function jpegSize(view) {
  let at = 2;
  while (at + 9 <= view.byteLength) {
    const marker = view.getUint8(at + 1);
    if (marker === 0xff)
      at += 1; // padding
    else if (marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker)) {
      return [view.getUint16(at + 7), view.getUint16(at + 5)];
    } else at += 2 + view.getUint16(at + 2);
  }
  return null;
}

/* The size in a WebP, which has one of three kinds of header. */
function webpSize(view) {
  const letter = view.getUint8(15); // "VP8X", "VP8L" or "VP8 "
  const three = (at) => 1 + view.getUint16(at, true) + (view.getUint8(at + 2) << 16);
  if (letter === 0x58) return [three(24), three(27)];
  if (letter !== 0x4c) return [26, 28].map((at) => view.getUint16(at, true) & 0x3fff);
  const bits = view.getUint32(21, true);
  return [(bits & 0x3fff) + 1, ((bits >> 14) & 0x3fff) + 1];
}

/* [width, height] as a file's first bytes say, before it is turned; null where they do not. */
export function sizeIn(bytes) {
  const view = viewOf(bytes);
  const readers = {
    "PNG picture": () => [view.getUint32(16), view.getUint32(20)],
    "GIF picture": () => [view.getUint16(6, true), view.getUint16(8, true)],
    "WebP picture": () => webpSize(view),
    "JPEG picture": () => jpegSize(view),
  };
  const kind = kindOf(bytes);
  return bytes.length >= 30 && kind in readers ? readers[kind]() : null;
}

/* How a WebP lies, 1 to 8 as in EXIF: Chromium turns JPEG and PNG, but not WebP. */
export function webpOrientation(bytes) {
  const view = viewOf(bytes);
  for (let at = 12; at + 8 <= bytes.length;) {
    const length = view.getUint32(at + 4, true);
    const name = String.fromCharCode(...bytes.subarray(at, at + 4));
    if (name === "EXIF") return orientationIn(bytes.subarray(at + 8, at + 8 + length));
    at += 8 + length + (length % 2);
  }
  return 1;
}

/* The orientation in EXIF data: a list of entries of 12 bytes. */
function orientationIn(bytes) {
  const start = bytes[0] === 0x45 ? 6 : 0; // some write "Exif" and two zeros first
  const view = viewOf(bytes.subarray(start));
  if (view.byteLength < 10) return 1;
  const little = view.getUint8(0) === 0x49;
  const list = view.getUint32(4, little);
  const entries = list + 2 <= view.byteLength ? view.getUint16(list, little) : 0;
  for (let i = 0, at = list + 2; i < entries && at + 12 <= view.byteLength; i++, at += 12) {
    if (view.getUint16(at, little) !== 0x112) continue;
    const value = view.getUint16(at + 8, little);
    return value >= 1 && value <= 8 ? value : 1;
  }
  return 1;
}

/* A picture turned and mirrored as its orientation asks. */
function turned(bitmap, orientation) {
  const { width: w, height: h } = bitmap;
  const [a, b, c, d, x, y] = [
    [-1, 0, 0, 1, w, 0],
    [-1, 0, 0, -1, w, h],
    [1, 0, 0, -1, 0, h],
    [0, 1, 1, 0, 0, 0],
    [0, 1, -1, 0, h, 0],
    [0, -1, -1, 0, h, w],
    [0, -1, 1, 0, 0, w],
  ][orientation - 2];
  const canvas = orientation > 4 ? new OffscreenCanvas(h, w) : new OffscreenCanvas(w, h);
  const context = canvas.getContext("2d");
  context.imageSmoothingEnabled = false;
  context.setTransform(a, b, c, d, x, y);
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  return canvas.transferToImageBitmap();
}

/* A Blob to an ImageBitmap: the pixels as they are in the file, without colour management, as
   Pillow reads them. */
export async function decodePicture(blob) {
  if (!blob.size) fail("the file is empty");
  const head = new Uint8Array(await blob.slice(0, HEAD).arrayBuffer());
  const size = sizeIn(head);
  if (size) checkSize(...size);
  const isWebp = kindOf(head) === "WebP picture";
  const turn = isWebp ? webpOrientation(new Uint8Array(await blob.arrayBuffer())) : 1;
  const options = { colorSpaceConversion: "none", premultiplyAlpha: "none" };
  if (isWebp) options.imageOrientation = "none";
  try {
    const bitmap = await createImageBitmap(blob, options);
    return turn > 1 ? turned(bitmap, turn) : bitmap;
  } catch {
    const damaged = size ? `: a ${kindOf(head)}, but damaged or cut off` : "";
    const svg = blob.type.includes("svg") ? " (drawings in SVG are not read)" : "";
    return fail(`this is not a picture that the browser can read${damaged}${svg}`);
  }
}

/* The bytes of a text in base 64. A plain loop: Uint8Array.from would take 0.15 s for a model. */
function fromBase64(text) {
  const letters = atob(text);
  const bytes = new Uint8Array(letters.length);
  for (let i = 0; i < letters.length; i++) bytes[i] = letters.charCodeAt(i);
  return bytes;
}

/* A data address in base 64 to a Blob without a request. */
function blobOf(address) {
  const [head, body] = address.split(",");
  return new Blob([fromBase64(body)], { type: head.slice(5).split(";")[0] });
}

const isFile = (picture) => isText(picture) || (globalThis.Blob && picture instanceof Blob);

/* What may be given as a picture, as the model takes it: a Blob or a data address is decoded. */
const opened = async (picture) => {
  if (!isFile(picture)) return picture;
  return decodePicture(isText(picture) ? blobOf(picture) : picture);
};

/* One frame of the reader's camera as a Blob; the camera is on only for that. */
export async function photograph() {
  const stream = await navigator.mediaDevices.getUserMedia({ video: true });
  try {
    const video = document.createElement("video");
    await Object.assign(video, { srcObject: stream, muted: true }).play();
    const canvas = new OffscreenCanvas(video.videoWidth, video.videoHeight);
    canvas.getContext("2d").drawImage(video, 0, 0);
    return await canvas.convertToBlob();
  } finally {
    stream.getTracks().forEach((track) => track.stop());
  }
}
