namespace WorkerService.Transfer;

/// <summary>The file could not be moved. The message says why in one sentence.</summary>
internal class TransferException(string message, Exception? innerException = null) : Exception(message, innerException);
