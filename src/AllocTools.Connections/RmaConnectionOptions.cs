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
    /// How much memory a connection has at first for what it receives, 128 bytes of it for its own words. Take a block size of the pool. Unit: bytes. Range: 1 KiB to 1 GiB, a multiple of 16. Default: 1 KiB.
    /// </summary>
    [OptionRange(RingBlock.Least, 1 << 30, "bytes", Multiple = 16)]
    public long InitialRingBytes { get; set; } = 1 << 10;

    /// <summary>
    /// How far that memory may grow, to 16 KiB and then in steps of four times, while the peer has to wait for room though this side reads all the time.
    /// Unit: bytes. Range: 1 KiB to 1 GiB, a multiple of 16. Default: 1 MiB.
    /// </summary>
    [OptionRange(RingBlock.Least, 1 << 30, "bytes", Multiple = 16)]
    public long MaxRingBytes { get; set; } = 1 << 20;

    /// <summary>
    /// After which time without a byte from the peer a connection gives back what it has beyond InitialRingBytes.
    /// Range: 10 ms to 24 h, or -1 ms: never. Default: 30 s.
    /// </summary>
    [OptionTimeRange(10, OptionTimeRangeAttribute.Day, InfiniteMeans = "never")]
    public TimeSpan IdleShrinkAfter { get; set; } = TimeSpan.FromSeconds(30);

    /// <summary>
    /// How many bytes that were written may wait or be on their way until a flush waits, too.
    /// Unit: bytes. Range: 4 KiB to 1 GiB. Default: 256 KiB.
    /// </summary>
    [OptionRange(4096, 1 << 30, "bytes")]
    public long PauseWriterBytes { get; set; } = 256 << 10;

    /// <summary>
    /// Where the code goes on that awaits a read or a flush. <see cref="RmaContinuations.Inline"/> is faster, and for code only that never blocks: all connections wait for it.
    /// Default: <see cref="RmaContinuations.ThreadPool"/>.
    /// </summary>
    [OptionChoice(typeof(RmaContinuations))]
    public RmaContinuations Continuations { get; set; } = RmaContinuations.ThreadPool;

    /// <summary>How long the set-up of a connection may take, from the TCP connection on. Range: 10 ms to 1 h. Default: 10 s.</summary>
    [OptionTimeRange(10, 60 * 60 * 1000)]
    public TimeSpan SetUpTimeout { get; set; } = TimeSpan.FromSeconds(10);

    /// <summary>How often each side says that it is alive. Range: 10 ms to 1 h. Default: 5 s.</summary>
    [OptionTimeRange(10, 60 * 60 * 1000)]
    public TimeSpan HeartbeatInterval { get; set; } = TimeSpan.FromSeconds(5);

    /// <summary>
    /// How long nothing may be heard of a peer until the connection ends by an error. It must be longer than HeartbeatInterval, the peer's included.
    /// Range: 20 ms to 24 h. Default: 20 s.
    /// </summary>
    [OptionTimeRange(20, OptionTimeRangeAttribute.Day)]
    public TimeSpan PeerTimeout { get; set; } = TimeSpan.FromSeconds(20);

    /// <summary>
    /// How long disposing a connection waits for the peer to take what was written; then the connection is aborted. Range: 0 to 1 h. Default: 5 s.
    /// </summary>
    [OptionTimeRange(0, 60 * 60 * 1000)]
    public TimeSpan CloseTimeout { get; set; } = TimeSpan.FromSeconds(5);

    /// <summary>
    /// How many connections may be in set-up, or wait to be accepted, at a listener. Further ones wait in the system. Range: 1 to 65,536. Default: 512.
    /// </summary>
    [OptionRange(1, 65536, "connections")]
    public int Backlog { get; set; } = 512;

    /// <summary>
    /// How many connections there may be, those that are in set-up or ending included. Further ones are refused, whichever side begins. Range: 1 to 1,000,000. Default: 65,536.
    /// </summary>
    [OptionRange(1, 1_000_000, "connections")]
    public int MaxConnections { get; set; } = 65_536;

    /// <summary>
    /// The name of another pool, such as one over shm, whose connections carry those between processes of one host, where both sides have them. Add them, too: AddRmaConnections with that
    /// name. Read where there is a container. Default: none.
    /// </summary>
    public string? LocalPool { get; set; }

    /// <summary>
    /// Reads hand out a copy of what has come, and not the ring itself, in which a hostile peer can change it while it is looked at. Costs a copy for each byte. Default: false.
    /// </summary>
    public bool CopyInput { get; set; }

    /// <summary>
    /// TLS of the control connection where this side listens. It protects the set-up and authenticates the peer; what goes through the rings
    /// is not encrypted by it (use HTTPS above). Set in code. Default: none, no TLS.
    /// </summary>
    public SslServerAuthenticationOptions? ServerAuthentication { get; set; }

    /// <summary>TLS of the control connection where this side connects; as <see cref="ServerAuthentication"/>. Without a target host it is the end point's. Set in code. Default: none, no TLS.</summary>
    public SslClientAuthenticationOptions? ClientAuthentication { get; set; }

    /// <summary>
    /// How long memory is kept whose peer has ended without a word: what it had posted before may still be in this system's queues, and
    /// is written when progress is made.
    /// </summary>
    internal TimeSpan LateWrites { get; set; } = TimeSpan.FromSeconds(2);

    /// <summary>A copy; the options of TLS are shared.</summary>
    internal RmaConnectionOptions Copy() => (RmaConnectionOptions)MemberwiseClone();

    /// <exception cref="OptionsValidationException">All that is wrong.</exception>
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
            result.AddError($"MaxRingBytes ({InWords.Size(options.MaxRingBytes)}) must not be less than InitialRingBytes ({InWords.Size(options.InitialRingBytes)}).");
        return result.Build();
    }
}
