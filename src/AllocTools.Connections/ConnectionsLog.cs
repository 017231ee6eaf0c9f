using Microsoft.Extensions.Logging;

namespace AllocTools.Connections;

/// <summary>
/// All log messages of connections, with stable event ids from 80 on, and of directories, from 120 on. They never
/// contain an address of memory, a key or an endpoint's address, and a host only if it does not use AllocTools, or may
/// not (81). They are in one class because the generator emits several classes in a varying order, so the same sources
/// would produce a different assembly.
/// </summary>
internal static partial class ConnectionsLog
{
    public const string Category = "AllocTools.Connections";

    public const string DirectoryCategory = "AllocTools.Connections.Directory";

    [LoggerMessage(80, LogLevel.Information, "Listening for connections over provider '{Provider}' on port {Port}.")]
    public static partial void Listening(ILogger logger, string provider, int port);

    [LoggerMessage(81, LogLevel.Warning, "A connection from {Address} was not set up: {Reason}{More}")]
    public static partial void SetUpFailed(ILogger logger, System.Net.IPAddress? address, string reason, string more, Exception? exception);

    [LoggerMessage(82, LogLevel.Debug, "Connection {Connection} ended: {Reason}")]
    public static partial void Ended(ILogger logger, string connection, string reason);

    [LoggerMessage(83, LogLevel.Error, "Connection {Connection} was aborted because its peer violated the protocol: {Mistake}.")]
    public static partial void ProtocolViolated(ILogger logger, string connection, string mistake);

    [LoggerMessage(84, LogLevel.Warning, "A peer announced a write to a connection that is not its own. The announcement is ignored. This is logged once.")]
    public static partial void ForeignConnection(ILogger logger);

    [LoggerMessage(85, LogLevel.Warning, "Connection {Connection}: its peer has been silent for {Seconds} s. The connection has ended; its memory stays quarantined as long as the peer may still write to it.")]
    public static partial void PeerSilent(ILogger logger, string connection, double seconds);

    [LoggerMessage(86, LogLevel.Error, "The listener on port {Port} can't accept connections at present, and will try again.")]
    public static partial void AcceptFailed(ILogger logger, int port, Exception exception);

    [LoggerMessage(87, LogLevel.Error, "Connections over provider '{Provider}' failed because their endpoint can no longer make progress.")]
    public static partial void EndpointFailed(ILogger logger, string provider, Exception exception);

    [LoggerMessage(88, LogLevel.Error, "Connection {Connection}: a callback of its ConnectionClosed threw an exception.")]
    public static partial void CallbackFailed(ILogger logger, string connection, Exception exception);

    [LoggerMessage(89, LogLevel.Error, "Connection {Connection}: one of its resources could not be released.")]
    public static partial void ReleaseFailed(ILogger logger, string connection, Exception exception);

    [LoggerMessage(90, LogLevel.Warning, "The server uses unregistered memory because pool '{Pool}' {Reason}. Data received there must be copied before it can be sent by RMA. Total so far: {Length}. This is logged once a minute.")]
    public static partial void ServerMemoryNotRegistered(ILogger logger, string pool, string reason, Diagnostics.Log.ByteCount length);

    [LoggerMessage(91, LogLevel.Error, "Connection {Connection} was ended, because it received damaged bytes: {Damage}")]
    public static partial void Damaged(ILogger logger, string connection, string damage);

    [LoggerMessage(92, LogLevel.Warning, "A connection could not be set up while provider '{Local}' (LocalPool) was offered, and is tried over provider '{Provider}' alone: {Reason}")]
    public static partial void LocalFallback(ILogger logger, string local, string provider, string reason);

    [LoggerMessage(120, LogLevel.Warning, "Entries in the directory could not be renewed, and will disappear when their leases expire: {Reason} Renewal is tried again. This is logged once until it succeeds.")]
    public static partial void RenewalFailed(ILogger logger, string reason);

    [LoggerMessage(121, LogLevel.Information, "Entries of the directory are renewed again.")]
    public static partial void Renewed(ILogger logger);

    [LoggerMessage(122, LogLevel.Warning, "An entry could not be removed from the directory, and will disappear when its lease expires: {Reason}")]
    public static partial void RemovalFailed(ILogger logger, string reason);

    [LoggerMessage(123, LogLevel.Warning, "A watch can't read the directory; it keeps the last known entries and tries again: {Reason} This is logged once until it succeeds.")]
    public static partial void WatchFailed(ILogger logger, string reason);

    [LoggerMessage(124, LogLevel.Information, "The directory can be read again.")]
    public static partial void WatchResumed(ILogger logger);

    [LoggerMessage(125, LogLevel.Warning, "{Count} of the entries that the directory returned for a name are ignored because they are invalid. The first: {Mistake}. This is logged once until all entries are valid.")]
    public static partial void EntriesIgnored(ILogger logger, int count, string mistake);

    [LoggerMessage(126, LogLevel.Warning, "{Failed} of {Peers} peers of the directory do not answer, or their answers are invalid; the others are used. The first: {Reason} This is logged once until all answer.")]
    public static partial void PeersFailed(ILogger logger, int failed, int peers, string reason);

    [LoggerMessage(127, LogLevel.Information, "All {Peers} peers of the directory answer again.")]
    public static partial void PeersAnswer(ILogger logger, int peers);

    [LoggerMessage(128, LogLevel.Warning, "This peer of the directory refused an entry: {Reason} {Others} earlier refusals were not logged; at most one is logged each minute.")]
    public static partial void EntryRefused(ILogger logger, string reason, long others);

    [LoggerMessage(129, LogLevel.Warning, "The directory can't be reached at startup: {Reason} It will be tried again at each use.")]
    public static partial void StartFailed(ILogger logger, string reason);
}
