// Imported before onnxruntime, which otherwise writes a device id and events into the owner's cache and looks up a
// host of Microsoft's. Child processes inherit it through their environment.
process.env['ORT_DISABLE_TELEMETRY'] = '1'
