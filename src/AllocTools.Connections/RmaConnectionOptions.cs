using System.Net.Security;
using AllocTools.Connections.Rings;
using AllocTools.Endpoints;
using AllocTools.Validation;
using Microsoft.Extensions.Options;

namespace AllocTools.Connections;

/// <summary>Options of connections over registered memory.</summary>
public sealed class RmaConnectionOptions
{
    /// <summary>
    /// How much memory a connection initially has for received data; 128 bytes of it are used for control words. Use a
    /// block size of the pool. Unit: bytes. Range: 1 KiB to 1 GiB, a multiple of 16. Default: 1 KiB.
    /// </summary>
    [OptionRange(RingBlock.Least, 1 << 30, "bytes", Multiple = 16)]
    public long InitialRingBytes { get; set; } = 1 << 10;

    /// <summary>
    /// How far that memory may grow, first to 16 KiB and then by a factor of four each time, while the peer has to wait
    /// for room although this side keeps reading.
    /// Unit: bytes. Range: 1 KiB to 1 GiB, a multiple of 16. Default: 1 MiB.
    /// </summary>
    [OptionRange(RingBlock.Least, 1 << 30, "bytes", Multiple = 16)]
    public long MaxRingBytes { get; set; } = 1 << 20;

    /// <summary>
    /// How long a connection must receive nothing from its peer before it releases the memory beyond InitialRingBytes.
    /// Range: 10 ms to 24 h, or -1 ms: never. Default: 30 s.
    /// </summary>
    [OptionTimeRange(10, OptionTimeRangeAttribute.Day, InfiniteMeans = "never")]
    public TimeSpan IdleShrinkAfter { get; set; } = TimeSpan.FromSeconds(30);

    /// <summary>
    /// How many written bytes may be waiting or in flight before a flush waits.
    /// Unit: bytes. Range: 4 KiB to 1 GiB. Default: 256 KiB.
    /// </summary>
    [OptionRange(4096, 1 << 30, "bytes")]
    public long PauseWriterBytes { get; set; } = 256 << 10;

    /// <summary>
    /// Where code continues after it awaits a read or a flush. <see cref="RmaContinuations.Inline"/> is faster, but
    /// only for code that never blocks, because all connections wait for it.
    /// Default: <see cref="RmaContinuations.ThreadPool"/>.
    /// </summary>
    [OptionChoice(typeof(RmaContinuations))]
    public RmaContinuations Continuations { get; set; } = RmaContinuations.ThreadPool;

    /// <summary>How long the set-up of a connection may take, from the TCP connection on. Range: 10 ms to 1 h. Default: 10 s.</summary>
    [OptionTimeRange(10, 60 * 60 * 1000)]
    public TimeSpan SetUpTimeout { get; set; } = TimeSpan.FromSeconds(10);

    /// <summary>How often each side reports that it is alive. Range: 10 ms to 1 h. Default: 5 s.</summary>
    [OptionTimeRange(10, 60 * 60 * 1000)]
    public TimeSpan HeartbeatInterval { get; set; } = TimeSpan.FromSeconds(5);

    /// <summary>
    /// How long a peer may be silent before the connection ends with an error. It must be longer than the HeartbeatInterval of both sides.
    /// Range: 20 ms to 24 h. Default: 20 s.
    /// </summary>
    [OptionTimeRange(20, OptionTimeRangeAttribute.Day)]
    public TimeSpan PeerTimeout { get; set; } = TimeSpan.FromSeconds(20);

    /// <summary>
    /// How long disposing a connection waits for the peer to read the written data; after that the connection is
    /// aborted. Range: 0 to 1 h. Default: 5 s.
    /// </summary>
    [OptionTimeRange(0, 60 * 60 * 1000)]
    public TimeSpan CloseTimeout { get; set; } = TimeSpan.FromSeconds(5);

    /// <summary>
    /// How many connections of a listener may be in set-up or wait to be accepted. Further ones wait in the operating
    /// system. Range: 1 to 65,536. Default: 512.
    /// </summary>
    [OptionRange(1, 65536, "connections")]
    public int Backlog { get; set; } = 512;

    /// <summary>
    /// How many connections there may be, including those that are in set-up or ending. Further ones are refused,
    /// whichever side initiates them. Range: 1 to 1,000,000. Default: 65,536.
    /// </summary>
    [OptionRange(1, 1_000_000, "connections")]
    public int MaxConnections { get; set; } = 65_536;

    /// <summary>
    /// The name of another pool, such as one over shm, whose connections are used between processes of one host, if
    /// both sides have such a pool. Add its connections, too: AddRmaConnections with that name. It has an effect only
    /// with dependency injection. Default: none.
    /// </summary>
    public string? LocalPool { get; set; }

    /// <summary>
    /// Whether a connection that can't be set up while LocalPool is offered is tried once more over the pool's own
    /// fabric alone. The first attempt has half of SetUpTimeout, and the second one what is left of it. Default: false.
    /// </summary>
    public bool LocalFallback { get; set; }

    /// <summary>
    /// Whether reads return a copy of the received data instead of the ring itself, where a hostile peer can change the
    /// data while it is being examined. This copies each byte once. Default: false.
    /// </summary>
    public bool CopyInput { get; set; }

    /// <summary>
    /// The kind of check value that all data of a connection carries, in both directions. Bytes that were
    /// damaged on the way end the connection with an error and never reach the application. If the two sides
    /// differ, the stronger kind is used. Default: <see cref="RmaIntegrity.None"/>.
    /// </summary>
    [OptionChoice(typeof(RmaIntegrity))]
    public RmaIntegrity Integrity { get; set; }

    /// <summary>
    /// TLS of the control connection when this side listens. It protects the set-up and authenticates the peer; it does
    /// not encrypt the data in the rings (use HTTPS on top). Set in code. Default: none, no TLS.
    /// </summary>
    public SslServerAuthenticationOptions? ServerAuthentication { get; set; }

    /// <summary>
    /// TLS of the control connection when this side connects; otherwise like <see cref="ServerAuthentication"/>. If no
    /// target host is set, it is the host of the end point. Set in code. Default: none, no TLS.
    /// </summary>
    public SslClientAuthenticationOptions? ClientAuthentication { get; set; }

    /// <summary>
    /// How long memory is kept after its peer has ended without notice: writes that the peer had posted may still be in
    /// this system's queues, and are executed when progress is made.
    /// </summary>
    internal TimeSpan LateWrites { get; set; } = TimeSpan.FromSeconds(2);

    /// <summary>Returns a copy that shares only the TLS options.</summary>
    internal RmaConnectionOptions Copy() => (RmaConnectionOptions)MemberwiseClone();

    /// <exception cref="OptionsValidationException">Options are invalid; the exception lists all failures.</exception>
    internal void ThrowIfInvalid()
    {
        ValidateOptionsResult result = new RmaConnectionOptionsValidator().Validate(null, this);
        if (result.Failed)
            throw new OptionsValidationException(nameof(RmaConnectionOptions), typeof(RmaConnectionOptions), result.Failures);
    }
}

/// <summary>The ranges of <see cref="RmaConnectionOptions"/>, from its attributes.</summary>
[OptionsValidator]
internal sealed partial class RmaConnectionOptionsRanges : IValidateOptions<RmaConnectionOptions>;

/// <summary>All rules of <see cref="RmaConnectionOptions"/>.</summary>
internal sealed class RmaConnectionOptionsValidator : IValidateOptions<RmaConnectionOptions>
{
    public ValidateOptionsResult Validate(string? name, RmaConnectionOptions options)
    {
        var result = new ValidateOptionsResultBuilder();
        result.AddResult(new RmaConnectionOptionsRanges().Validate(name, options));
        if (options.PeerTimeout <= options.HeartbeatInterval)
            result.AddError($"PeerTimeout ({InWords.Time(options.PeerTimeout)}) must be longer than HeartbeatInterval ({InWords.Time(options.HeartbeatInterval)}).");
        if (options.MaxRingBytes < options.InitialRingBytes)
            result.AddError($"MaxRingBytes ({InWords.Bytes(options.MaxRingBytes)}) must not be less than InitialRingBytes ({InWords.Bytes(options.InitialRingBytes)}).");
        return result.Build();
    }
}
