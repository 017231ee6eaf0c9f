using AllocTools.Validation;
using Microsoft.Extensions.Options;

namespace AllocTools.Connections.Directories;

/// <summary>Options of a directory.</summary>
public sealed class RmaDirectoryOptions
{
    /// <summary>
    /// URL of the peers that keep the directory (those with MapRmaDirectory): http or https, a name that service discovery resolves to all of them, or the host and port of a
    /// single one; and the path where the directory is, if it is not /rma-directory. Default: none, which only directories elsewhere (UseRedis) may have.
    /// </summary>
    public string? Peers { get; set; }

    /// <summary>
    /// For how long an entry stays whose process does not renew it. It is renewed three times as often. Range: 200 ms to 1 h. Default: 15 s.
    /// </summary>
    [OptionTimeRange(200, 60 * 60 * 1000)]
    public TimeSpan Lease { get; set; } = TimeSpan.FromSeconds(15);

    /// <summary>How long a request may take. It must be shorter than half of Lease. Range: 10 ms to 10 min. Default: 3 s.</summary>
    [OptionTimeRange(10, 10 * 60 * 1000)]
    public TimeSpan RequestTimeout { get; set; } = TimeSpan.FromSeconds(3);

    /// <summary>
    /// How often a watch reads again, even where no change was announced; and how soon it tries again where the directory can't be reached. Range: 10 ms to 1 h. Default: 5 s.
    /// </summary>
    [OptionTimeRange(10, 60 * 60 * 1000)]
    public TimeSpan WatchInterval { get; set; } = TimeSpan.FromSeconds(5);

    /// <summary>How long an entry may be in its JSON form. Unit: bytes. Range: 256 B to 1 MiB. Default: 16 KiB.</summary>
    [OptionRange(256, 1 << 20, "bytes")]
    public long MaxEntryBytes { get; set; } = 16 << 10;

    /// <summary>How many processes may publish by one name. Range: 1 to 10,000. Default: 256.</summary>
    [OptionRange(1, 10_000, "entries")]
    public int MaxEntriesPerName { get; set; } = 256;

    /// <summary>How many entries a peer keeps in all (MapRmaDirectory). Range: 1 to 1,000,000. Default: 10,000.</summary>
    [OptionRange(1, 1_000_000, "entries")]
    public int MaxEntries { get; set; } = 10_000;

    /// <summary>
    /// How many bytes of entries a peer keeps in all (MapRmaDirectory), and how many a process reads at once as the answers of all peers. Unit: bytes. Range: 64 KiB to 1 GiB. Default: 64 MiB.
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
        // A renewal begins after up to 0.4 of a lease, and may take this long beside a peer that does not answer.
        if (options.RequestTimeout * 2 >= options.Lease)
            result.AddError($"RequestTimeout ({InWords.Time(options.RequestTimeout)}) must be shorter than half of Lease ({InWords.Time(options.Lease)}).");
        if (options.MaxBytes < options.MaxEntryBytes)
            result.AddError($"MaxBytes ({InWords.Size(options.MaxBytes)}) must not be less than MaxEntryBytes ({InWords.Size(options.MaxEntryBytes)}).");
        if (options.Peers is { } peers && (!Uri.TryCreate(peers, UriKind.Absolute, out Uri? url) || url.Scheme is not ("http" or "https") || url.Query.Length + url.Fragment.Length + url.UserInfo.Length != 0))
            result.AddError($"Peers is '{peers}'; it must be a URL of http or https with a host, such as https://directory, and nothing behind its path.");
        return result.Build();
    }
}
