namespace WorkerService;

/// <summary>The role of a process. Both sends and starts a receiver, whose role is Child; the others only send or receive.</summary>
internal enum TransferRole { Both, Receiver, Sender, Child }

/// <summary>The options of the sample, in the section <c>Transfer</c>. The help texts of the switches describe them.</summary>
/// <remarks>
/// OfferTimeout is how many seconds a receiver waits for its sender; StartTimeout is how many the other
/// process may take to start.
/// </remarks>
internal sealed class TransferOptions
{
    /// <summary>Short names of common settings, including those of other sections.</summary>
    public static readonly Switch[] Switches =
    [
        new("--file", "Transfer:File", "PATH", "the file to send (default: the largest one beside the program)"),
        new("--output", "Transfer:OutputDirectory", "DIR", "where the received file is kept (default: a new temporary directory)"),
        new("--overwrite", "Transfer:Overwrite", "", "let a received file replace one of the same name"),
        new("--resume", "Transfer:Resume", "", "keep the received part when a transfer ends early, and continue from there the next time"),
        new("--provider", "AllocTools:Provider:Provider", "NAME", "libfabric's: tcp;ofi_rxm (default), shm, sockets, verbs;ofi_rxm, efa, ...; or ucx; or mpi, under mpirun -n 2"),
        new("--node", "AllocTools:Provider:Node", "ADDRESS", "this machine's address on the fabric (default: 127.0.0.1); UCX has devices"),
        new("--domain", "AllocTools:Provider:Domain", "NAME", "the device or interface, such as mlx5_0"),
        new("--role", "Transfer:Role", "ROLE", "both (default: two processes on this machine), receiver, sender"),
        new("--peer", "Transfer:Peer", "TICKET", "for the sender: the ticket that the receiver printed"),
        new("--timeout", "Transfer:Timeout", "SECONDS", "how long an operation may take and the peer may be silent (default: 10)"),
        new("--live", "Transfer:Live", "", "show the pool on the terminal, updated each second"),
        new("--prometheus", "Telemetry:Prometheus", "URL", "where Prometheus may scrape, such as http://127.0.0.1:9464/metrics"),
        new("--doctor", "Transfer:Doctor", "", "examine whether this machine can run it with these settings, and move nothing"),
        new("--verbose", "Logging:LogLevel:Default", "", "log more, and print where errors come from", Set: "Debug"),
    ];

    public TransferRole Role { get; set; }
    public string File { get; set; } = "";
    public string OutputDirectory { get; set; } = "";
    public string Peer { get; set; } = "";
    public bool Overwrite { get; set; }
    public bool Resume { get; set; }
    public bool Live { get; set; }
    public bool Doctor { get; set; }
    public double Timeout { get; set; } = 10;
    public double OfferTimeout { get; set; } = 300;
    public double StartTimeout { get; set; } = 30;

    /// <exception cref="UsageException">An option is unknown, can't be read or is out of its range; the message has its path.</exception>
    public static TransferOptions From(IConfigurationSection section)
    {
        TransferOptions options;
        if (section[nameof(Role)] is { Length: > 0 } role && !Enum.TryParse<TransferRole>(role, ignoreCase: true, out _))
            throw new UsageException($"{section.Path}:{nameof(Role)} is '{role}'; it must be Both, Receiver or Sender.");
        try
        {
            options = section.Get<TransferOptions>(static binder => binder.ErrorOnUnknownConfiguration = true) ?? new TransferOptions();
        }
        catch (InvalidOperationException e)
        {
            throw new UsageException($"{section.Path}: {e.Message}");
        }
        bool sends = options.Role == TransferRole.Sender;
        string? failure = !Enum.IsDefined(options.Role) ? $"Role is {options.Role}; it must be Both, Receiver or Sender."
            : options.Timeout is not (>= 1 and <= 3600) ? $"Timeout is {options.Timeout}; it must be between 1 and 3600 seconds."
            : options.OfferTimeout is not (>= 1 and <= 86400) ? $"OfferTimeout is {options.OfferTimeout}; it must be between 1 and 86400 seconds."
            : options.StartTimeout is not (>= 1 and <= 3600) ? $"StartTimeout is {options.StartTimeout}; it must be between 1 and 3600 seconds."
            : sends && options.Peer.Length == 0 ? "Peer is not set; it must be the ticket that the receiver prints (--peer TICKET)."
            : !sends && options.Peer.Length > 0 ? $"Peer is set, but the role is {options.Role}; a ticket is for --role sender."
            : options.Role == TransferRole.Receiver && options.File.Length > 0 ? "File is set, but the role is Receiver; the sender chooses the file."
            : options.Resume && !sends && options.OutputDirectory.Length == 0 ? "Resume is set, but OutputDirectory is not (--output DIR); a new directory has nothing to resume."
            : null;
        return failure is null ? options : throw new UsageException($"{section.Path}:{failure}");
    }
}
