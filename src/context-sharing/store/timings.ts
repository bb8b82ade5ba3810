/** A partial context is told of again each time it has grown by this share: twenty adverts a context at most. */
export const SHARE_STEP = 0.05
