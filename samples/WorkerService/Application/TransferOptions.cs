using Microsoft.Extensions.Options;

namespace WorkerService.Application;

/// <summary>Options of the sample: the section <c>Transfer</c>.</summary>
internal sealed class TransferOptions
{
    /// <summary>What this process does. Default: <see cref="TransferRole.Both"/>.</summary>
    public TransferRole Role { get; set; }

    /// <summary>The file to send. Default: the largest one below the .NET installation.</summary>
    public string? File { get; set; }

    /// <summary>Where a received file is kept; made if it isn't there. Default: a new temporary directory.</summary>
    public string? OutputDirectory { get; set; }

    /// <summary>The receiver's ticket, as it prints it. For the role sender.</summary>
    public string? Peer { get; set; }

    /// <summary>
    /// How much one RMA write moves; the smaller one of both sides counts. Unit: bytes. Range: 4 KiB to 64 MiB.
    /// Default: 256 KiB. A size class of this block size saves waste.
    /// </summary>
    public int ChunkSize { get; set; } = 256 << 10;

    /// <summary>How many chunks may be on their way; the smaller one of both sides counts. Range: 1 to 256. Default: 8.</summary>
    public int InFlight { get; set; } = 8;

    /// <summary>How long an operation may take, and how long the peer may be silent. Range: 1 s to 1 h. Default: 10 s.</summary>
    public TimeSpan Timeout { get; set; } = TimeSpan.FromSeconds(10);

    /// <summary>How long a receiver waits for its sender. Range: 1 s to 24 h. Default: 5 min.</summary>
    public TimeSpan OfferTimeout { get; set; } = TimeSpan.FromMinutes(5);

    /// <summary>How long the other process may take to start. Range: 1 s to 1 h. Default: 30 s.</summary>
    public TimeSpan StartTimeout { get; set; } = TimeSpan.FromSeconds(30);

    /// <summary>A received file may take the place of one of the same name. Default: false, since the sender chooses the name.</summary>
    public bool Overwrite { get; set; }

    /// <summary>Show the pools on the terminal while this runs. Default: false.</summary>
    public bool Live { get; set; }

    /// <summary>Set by the sample for the process that it starts: reports go to that process's parent, and it ends with it.</summary>
    public bool StartedByParent { get; set; }

    /// <summary>Reads the section, strictly.</summary>
    /// <exception cref="UsageException">An option is unknown, can't be read or is out of its range; the message has its path.</exception>
    public static TransferOptions From(IConfigurationSection section)
    {
        string[] known = [.. typeof(TransferOptions).GetProperties().Select(p => p.Name)];
        foreach (IConfigurationSection option in section.GetChildren())
        {
            if (!known.Contains(option.Key, StringComparer.OrdinalIgnoreCase))
                throw new UsageException($"{option.Path} is not an option. There are: {string.Join(", ", known.Where(k => k != nameof(StartedByParent)))}.");
        }
        TransferOptions options;
        try
        {
            options = section.Get<TransferOptions>() ?? new TransferOptions();
        }
        catch (InvalidOperationException e)
        {
            throw new UsageException(e.Message);
        }
        ValidateOptionsResult result = new TransferOptionsValidator(section.Path).Validate(null, options);
        return result.Failed ? throw new UsageException(string.Join(' ', result.Failures)) : options;
    }
}
