using Microsoft.Extensions.Logging;

namespace AllocTools.Connections;

/// <summary>
/// All log messages of connections, with stable event ids from 80 on. They never contain an address of memory, a key or
/// an endpoint's address, and a host only if it does not use AllocTools, or may not (81).
/// </summary>
internal static partial class ConnectionsLog
{
    public const string Category = "AllocTools.Connections";

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
}
