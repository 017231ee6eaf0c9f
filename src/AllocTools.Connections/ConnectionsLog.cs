using Microsoft.Extensions.Logging;

namespace AllocTools.Connections;

/// <summary>Every message of connections, with stable event ids from 80 on. Never an address of memory, a key or an endpoint's address; a host only where it is none of AllocTools, or can't be one (81).</summary>
internal static partial class ConnectionsLog
{
    public const string Category = "AllocTools.Connections";

    [LoggerMessage(80, LogLevel.Information, "Connections over provider '{Provider}' are listened for at port {Port}.")]
    public static partial void Listening(ILogger logger, string provider, int port);

    [LoggerMessage(81, LogLevel.Warning, "A connection from {Address} was not set up: {Reason}{More}")]
    public static partial void SetUpFailed(ILogger logger, System.Net.IPAddress? address, string reason, string more, Exception? exception);

    [LoggerMessage(82, LogLevel.Debug, "Connection {Connection} ended: {Reason}")]
    public static partial void Ended(ILogger logger, string connection, string reason);

    [LoggerMessage(83, LogLevel.Error, "Connection {Connection} was aborted, because its peer does not keep to the protocol: {Mistake}.")]
    public static partial void ProtocolViolated(ILogger logger, string connection, string mistake);

    [LoggerMessage(84, LogLevel.Warning, "A peer has announced a write to a connection that is not its own; it is ignored. This is said once.")]
    public static partial void ForeignConnection(ILogger logger);

    [LoggerMessage(85, LogLevel.Warning, "Connection {Connection}: nothing was heard of its peer for {Seconds} s. The connection is over; its memory stays in quarantine as long as the peer may still write into it.")]
    public static partial void PeerSilent(ILogger logger, string connection, double seconds);

    [LoggerMessage(86, LogLevel.Error, "The listener at port {Port} can't accept for now, and tries again.")]
    public static partial void AcceptFailed(ILogger logger, int port, Exception exception);

    [LoggerMessage(87, LogLevel.Error, "Connections over provider '{Provider}' have failed, because their endpoint can make no progress.")]
    public static partial void EndpointFailed(ILogger logger, string provider, Exception exception);

    [LoggerMessage(88, LogLevel.Error, "Connection {Connection}: a callback of its ConnectionClosed has thrown.")]
    public static partial void CallbackFailed(ILogger logger, string connection, Exception exception);

    [LoggerMessage(89, LogLevel.Error, "Connection {Connection}: something that it had could not be given back.")]
    public static partial void ReleaseFailed(ILogger logger, string connection, Exception exception);

    [LoggerMessage(90, LogLevel.Warning, "The server gets memory that is not registered, because pool '{Pool}' {Reason}. What arrives there can't go on by RMA without a copy. So far: {Length}. This is said once a minute.")]
    public static partial void ServerMemoryNotRegistered(ILogger logger, string pool, string reason, Diagnostics.Log.ByteCount length);
}
