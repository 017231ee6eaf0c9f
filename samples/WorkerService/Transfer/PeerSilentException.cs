namespace WorkerService.Transfer;

/// <summary>The peer has said nothing for too long. It would not hear us either.</summary>
internal sealed class PeerSilentException(string message) : TransferException(message);
