/** A run of consecutive request numbers, `from` included and `to` not. */
export interface RequestRange {
  from: number
  to: number
}
