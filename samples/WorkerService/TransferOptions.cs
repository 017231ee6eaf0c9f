using System.Globalization;

namespace WorkerService;

/// <summary>What a process does: sends and starts a receiver, or only one of both.</summary>
internal enum TransferRole
{
    Both = 0,
    Receiver = 1,
    Sender = 2,
}

/// <summary>Options of the sample: the section <c>Transfer</c>.</summary>
internal sealed class TransferOptions
{
    /// <summary>The switches: short names of the common settings.</summary>
    public static readonly Switch[] Switches =
    [
        new("--file", "Transfer:File", "PATH", "the file to send (default: the largest one below the .NET installation)"),
        new("--output", "Transfer:OutputDirectory", "DIR", "where the received file is kept (default: a new temporary directory)"),
        new("--overwrite", "Transfer:Overwrite", "", "a received file may take the place of one of its name"),
        new("--resume", "Transfer:Resume", "", "keep what has come when a transfer ends early, and go on from there the next time"),
        new("--provider", "AllocTools:Provider:Provider", "NAME", "libfabric's provider: tcp;ofi_rxm (default), shm, sockets, verbs;ofi_rxm, efa, ...; or ucx; or mpi, under mpirun -n 2"),
        new("--node", "AllocTools:Provider:Node", "ADDRESS", "this machine's address on the fabric (default: 127.0.0.1); UCX has devices"),
        new("--domain", "AllocTools:Provider:Domain", "NAME", "the device or interface, such as mlx5_0"),
        new("--role", "Transfer:Role", "ROLE", "both (default: two processes on this machine), receiver, sender"),
        new("--peer", "Transfer:Peer", "TICKET", "for the sender: what the receiver printed"),
        new("--chunk-size", "Transfer:ChunkSize", "SIZE", "how much one write moves, such as 256 KiB (default: 512 KiB)"),
        new("--in-flight", "Transfer:InFlight", "N", "how many chunks may be on their way"),
        new("--timeout", "Transfer:Timeout", "SECONDS", "how long an operation may take (default: 10)"),
        new("--live", "Transfer:Live", "", "show the pools on the terminal, again each second"),
        new("--prometheus", "Telemetry:Prometheus", "URL", "where Prometheus may scrape, such as http://127.0.0.1:9464/metrics"),
        new("--verbose", "Logging:LogLevel:Default", "", "log more, and print where errors come from") { Set = "Debug" },
    ];

    /// <summary>What this process does. Default: <see cref="TransferRole.Both"/>.</summary>
    public TransferRole Role { get; set; }

    /// <summary>The file to send. Default: the largest one below the .NET installation.</summary>
    public string? File { get; set; }

    /// <summary>Where a received file is kept; made if it isn't there. Default: a new temporary directory.</summary>
    public string? OutputDirectory { get; set; }

    /// <summary>The receiver's ticket, as it prints it. For the role sender.</summary>
    public string? Peer { get; set; }

    /// <summary>How much one RMA write moves; the smaller one of both sides counts. Unit: bytes. Range: 4 KiB to 64 MiB. Default: 512 KiB. A size class of this block size saves waste.</summary>
    public int ChunkSize { get; set; } = 512 << 10;

    /// <summary>How many chunks may be on their way; the smaller one of both sides counts. Range: 1 to 256. Default: 6.</summary>
    public int InFlight { get; set; } = 6;

    /// <summary>How long an operation may take, and how long the peer may be silent. Range: 1 s to 1 h. Default: 10 s.</summary>
    public TimeSpan Timeout { get; set; } = TimeSpan.FromSeconds(10);

    /// <summary>How long a receiver waits for its sender. Range: 1 s to 24 h. Default: 5 min.</summary>
    public TimeSpan OfferTimeout { get; set; } = TimeSpan.FromMinutes(5);

    /// <summary>How long the other process may take to start. Range: 1 s to 1 h. Default: 30 s.</summary>
    public TimeSpan StartTimeout { get; set; } = TimeSpan.FromSeconds(30);

    /// <summary>A received file may take the place of one of the same name. Default: false, since the sender chooses the name.</summary>
    public bool Overwrite { get; set; }

    /// <summary>What has come of a file is kept when the transfer ends early, and the next one goes on from there. Default: false.</summary>
    public bool Resume { get; set; }

    /// <summary>Show the pools on the terminal while this runs. Default: false.</summary>
    public bool Live { get; set; }

    /// <summary>Reads the section, strictly.</summary>
    /// <exception cref="UsageException">An option is unknown, can't be read or is out of its range; the message has its path.</exception>
    public static TransferOptions From(IConfigurationSection section)
    {
        TransferOptions options;
        if (section[nameof(Role)] is { Length: > 0 } role && !Enum.TryParse<TransferRole>(role, ignoreCase: true, out _))
            throw new UsageException($"{section.Path}:{nameof(Role)} is '{role}'; it must be Both, Receiver or Sender.");
        if (section[nameof(ChunkSize)] is { Length: > 0 } size)
            section[nameof(ChunkSize)] = (TryReadSize(size) ?? throw new UsageException($"{section.Path}:{nameof(ChunkSize)} is '{size}'; it must be a number of bytes, such as 524288 or 512 KiB.")).ToString(CultureInfo.InvariantCulture);
        // A bare number would be days.
        if (double.TryParse(section[nameof(Timeout)], NumberStyles.Float, CultureInfo.InvariantCulture, out double seconds) && Math.Abs(seconds) < 1e6)
            section[nameof(Timeout)] = TimeSpan.FromSeconds(seconds).ToString();
        try
        {
            options = section.Get<TransferOptions>(static binder => binder.ErrorOnUnknownConfiguration = true) ?? new TransferOptions();
        }
        catch (InvalidOperationException e)
        {
            throw new UsageException($"{section.Path}: {e.Message}");
        }
        var second = TimeSpan.FromSeconds(1);
        string[] failures =
        [
            .. Fails(!Enum.IsDefined(options.Role), $"{nameof(Role)} is {options.Role}; it must be Both, Receiver or Sender."),
            .. Fails(options.ChunkSize is < 4 << 10 or > 64 << 20, $"{nameof(ChunkSize)} is {options.ChunkSize}; it must be between {4 << 10} and {64 << 20} bytes."),
            .. Fails(options.InFlight is < 1 or > 256, $"{nameof(InFlight)} is {options.InFlight}; it must be between 1 and 256."),
            .. FailsAsTime(nameof(Timeout), options.Timeout, TimeSpan.FromHours(1)),
            .. FailsAsTime(nameof(OfferTimeout), options.OfferTimeout, TimeSpan.FromHours(24)),
            .. FailsAsTime(nameof(StartTimeout), options.StartTimeout, TimeSpan.FromHours(1)),
            .. Fails(options.Role == TransferRole.Sender && string.IsNullOrEmpty(options.Peer), $"{nameof(Peer)} is not set; a sender needs the ticket that its receiver prints (--peer TICKET)."),
            .. Fails(options.Role != TransferRole.Sender && !string.IsNullOrEmpty(options.Peer), $"{nameof(Peer)} is set, but the role is {options.Role}; a ticket is for --role sender."),
            .. Fails(options.Role == TransferRole.Receiver && !string.IsNullOrEmpty(options.File), $"{nameof(File)} is set, but the role is {options.Role}; the sender chooses the file."),
            .. Fails(options.Resume && options.Role is TransferRole.Both or TransferRole.Receiver && string.IsNullOrEmpty(options.OutputDirectory), $"{nameof(Resume)} is set, but {nameof(OutputDirectory)} is not (--output DIR): there is nothing to go on with in a new directory."),
        ];
        return failures.Length == 0 ? options : throw new UsageException(string.Join(' ', failures));

        string[] Fails(bool isWrong, string text) => isWrong ? [$"{section.Path}:{text}"] : [];
        string[] FailsAsTime(string name, TimeSpan value, TimeSpan longest) => Fails(value < second || value > longest, $"{name} is {value}; it must be between {second} and {longest} (hours:minutes:seconds).");
    }

    /// <summary>Reads bytes, KiB or MiB, as the options of pools have them; null where it is neither.</summary>
    private static int? TryReadSize(string text)
    {
        string[] parts = text.Split(' ', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries);
        int shift = parts is [_] or [_, "B"] ? 0 : parts is [_, "KiB"] ? 10 : parts is [_, "MiB"] ? 20 : -1;
        return shift >= 0 && long.TryParse(parts[0], NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out long number) && Math.Abs(number) <= int.MaxValue >> shift ? (int)number << shift : null;
    }
}
