using AllocTools.Validation;
using Microsoft.Extensions.Options;

namespace AllocTools.Connections.Directories;

/// <summary>Options of a directory.</summary>
public sealed class RmaDirectoryOptions
{
    /// <summary>
    /// URL of the peers that keep the directory (those with MapRmaDirectory): http or https, a name that service
    /// discovery resolves to all of them, or the host and port of a single one; and the path of the directory, if it is
    /// not /rma-directory. Default: none, which is allowed only if the directory is stored elsewhere (UseRedis).
    /// </summary>
    public string? Peers { get; set; }

    /// <summary>
    /// How long an entry stays if its process does not renew it. Entries are renewed after a third of this time. Range:
    /// 200 ms to 1 h. Default: 15 s.
    /// </summary>
    [OptionTimeRange(200, 60 * 60 * 1000)]
    public TimeSpan Lease { get; set; } = TimeSpan.FromSeconds(15);

    /// <summary>How long a request may take. It must be shorter than half of Lease. Range: 10 ms to 10 min. Default: 3 s.</summary>
    [OptionTimeRange(10, 10 * 60 * 1000)]
    public TimeSpan RequestTimeout { get; set; } = TimeSpan.FromSeconds(3);

    /// <summary>
    /// How often a watch reads the directory again even if no change was announced, and how soon it tries again if the
    /// directory can't be reached. Range: 10 ms to 1 h. Default: 5 s.
    /// </summary>
    [OptionTimeRange(10, 60 * 60 * 1000)]
    public TimeSpan WatchInterval { get; set; } = TimeSpan.FromSeconds(5);

    /// <summary>How long the JSON form of an entry may be. Unit: bytes. Range: 256 B to 1 MiB. Default: 16 KiB.</summary>
    [OptionRange(256, 1 << 20, "bytes")]
    public long MaxEntryBytes { get; set; } = 16 << 10;

    /// <summary>How many processes may publish under one name. Range: 1 to 10,000. Default: 256.</summary>
    [OptionRange(1, 10_000, "entries")]
    public int MaxEntriesPerName { get; set; } = 256;

    /// <summary>How many entries a peer keeps in total (MapRmaDirectory). Range: 1 to 1,000,000. Default: 10,000.</summary>
    [OptionRange(1, 1_000_000, "entries")]
    public int MaxEntries { get; set; } = 10_000;

    /// <summary>
    /// How many bytes of entries a peer keeps in total (MapRmaDirectory), and how many bytes of answers from all peers
    /// a process reads at once. Unit: bytes. Range: 64 KiB to 1 GiB. Default: 64 MiB.
    /// </summary>
    [OptionRange(64 << 10, 1 << 30, "bytes")]
    public long MaxBytes { get; set; } = 64 << 20;
}

/// <summary>The ranges of <see cref="RmaDirectoryOptions"/>, from its attributes.</summary>
[OptionsValidator]
internal sealed partial class RmaDirectoryOptionsRanges : IValidateOptions<RmaDirectoryOptions>;

/// <summary>All rules of <see cref="RmaDirectoryOptions"/>.</summary>
internal sealed class RmaDirectoryOptionsValidator : IValidateOptions<RmaDirectoryOptions>
{
    public ValidateOptionsResult Validate(string? name, RmaDirectoryOptions options)
    {
        var result = new ValidateOptionsResultBuilder();
        result.AddResult(new RmaDirectoryOptionsRanges().Validate(name, options));
        // A renewal begins after up to 0.4 of a lease, and may take this long if a peer does not answer.
        // Halved, because a time that is out of range may be too long to be doubled.
        if (options.RequestTimeout >= options.Lease / 2)
            result.AddError($"RequestTimeout ({InWords.Time(options.RequestTimeout)}) must be shorter than half of Lease ({InWords.Time(options.Lease)}).");
        if (options.MaxBytes < options.MaxEntryBytes)
            result.AddError($"MaxBytes ({InWords.Bytes(options.MaxBytes)}) must not be less than MaxEntryBytes ({InWords.Bytes(options.MaxEntryBytes)}).");
        if (options.Peers is { } peers && (!Uri.TryCreate(peers, UriKind.Absolute, out Uri? url) || url.Scheme is not ("http" or "https") || url.Query.Length + url.Fragment.Length + url.UserInfo.Length != 0))
            result.AddError($"Peers is '{peers}'; it must be an http or https URL with a host, such as https://directory, and without user name, query or fragment.");
        return result.Build();
    }
}
