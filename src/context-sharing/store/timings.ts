/** Growth of a partial context between two adverts, as a share: at most twenty adverts a context. */
export const SHARE_STEP = 0.05
