using AllocTools.Endpoints;
using AllocTools.Providers;

namespace AllocTools.Connections.Hosting;

/// <summary>Every key of the section of connections. A test compares it with the properties of the options.</summary>
internal static class ConnectionOptionKeys
{
    /// <summary>The section's name below the pool's.</summary>
    public const string SectionName = "Connections";

    public static RmaOptionKeys<RmaConnectionOptions> All { get; } = new RmaOptionKeys<RmaConnectionOptions>()
        .Size(nameof(RmaConnectionOptions.InitialRingBytes), (o, v) => o.InitialRingBytes = v)
        .Size(nameof(RmaConnectionOptions.MaxRingBytes), (o, v) => o.MaxRingBytes = v)
        .Duration(nameof(RmaConnectionOptions.IdleShrinkAfter), (o, v) => o.IdleShrinkAfter = v)
        .Size(nameof(RmaConnectionOptions.PauseWriterBytes), (o, v) => o.PauseWriterBytes = v)
        .Choice<RmaContinuations>(nameof(RmaConnectionOptions.Continuations), (o, v) => o.Continuations = v)
        .Duration(nameof(RmaConnectionOptions.SetUpTimeout), (o, v) => o.SetUpTimeout = v)
        .Duration(nameof(RmaConnectionOptions.HeartbeatInterval), (o, v) => o.HeartbeatInterval = v)
        .Duration(nameof(RmaConnectionOptions.PeerTimeout), (o, v) => o.PeerTimeout = v)
        .Duration(nameof(RmaConnectionOptions.CloseTimeout), (o, v) => o.CloseTimeout = v)
        .Integer(nameof(RmaConnectionOptions.Backlog), (o, v) => o.Backlog = v)
        .Integer(nameof(RmaConnectionOptions.MaxConnections), (o, v) => o.MaxConnections = v)
        .Text(nameof(RmaConnectionOptions.LocalPool), (o, v) => o.LocalPool = v)
        .Flag(nameof(RmaConnectionOptions.LocalFallback), (o, v) => o.LocalFallback = v)
        .Flag(nameof(RmaConnectionOptions.CopyInput), (o, v) => o.CopyInput = v)
        .Choice<RmaIntegrity>(nameof(RmaConnectionOptions.Integrity), (o, v) => o.Integrity = v);
}
