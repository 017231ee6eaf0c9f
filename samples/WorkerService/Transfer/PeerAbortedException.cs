namespace WorkerService.Transfer;

/// <summary>The peer gave up, and said why.</summary>
internal sealed class PeerAbortedException(string message) : TransferException(message);
