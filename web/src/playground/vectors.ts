/** How alike vectors are. */

export function cosine(one: readonly number[], other: readonly number[]): number {
  let dot = 0;
  let ownSquare = 0;
  let otherSquare = 0;
  one.forEach((value, index) => {
    const against = other[index] ?? 0;
    dot += value * against;
    ownSquare += value * value;
    otherSquare += against * against;
  });
  const scale = Math.sqrt(ownSquare * otherSquare);
  return scale === 0 ? 0 : dot / scale;
}

/** Row by row; the same on both sides of the diagonal. */
export function similarities(vectors: readonly (readonly number[])[]): number[][] {
  const rows = vectors.map(() => vectors.map(() => 0));
  vectors.forEach((one, row) => {
    for (let column = row; column < vectors.length; column++) {
      const value = cosine(one, vectors[column] ?? []);
      const [own, mirrored] = [rows[row], rows[column]];
      if (own) own[column] = value;
      if (mirrored) mirrored[row] = value;
    }
  });
  return rows;
}

/** How much of the heat's colour a cell has, from 0 to 1. */
export function heat(value: number): number {
  return Math.min(1, Math.max(0, value));
}
