namespace WorkerService.Reporting;

/// <summary>What one side did.</summary>
internal sealed record TransferSummary
{
    /// <summary>Sender or receiver.</summary>
    public required string Role { get; init; }

    /// <summary>The fabric.</summary>
    public required string Provider { get; init; }

    /// <summary>The file's name.</summary>
    public required string FileName { get; init; }

    /// <summary>Where the receiver keeps it.</summary>
    public string? SavedAs { get; init; }

    /// <summary>The file's length.</summary>
    public required long Bytes { get; init; }

    /// <summary>From the offer to the result.</summary>
    public required double Seconds { get; init; }

    /// <summary>The hash of what this side read or wrote, in hexadecimal.</summary>
    public required string Sha256 { get; init; }

    /// <summary>Buffers that were rented, for chunks and for messages.</summary>
    public required long Rents { get; init; }

    /// <summary>Rents from memory that was registered already.</summary>
    public required long Hits { get; init; }

    /// <summary>Rents that had to register.</summary>
    public required long Misses { get; init; }

    /// <summary>Registrations made, warm-up included.</summary>
    public required long Registrations { get; init; }

    /// <summary>Those that were made after warm-up.</summary>
    public required long RegistrationsAfterWarmUp { get; init; }

    /// <summary>What is registered at the end.</summary>
    public required long RegisteredBytes { get; init; }

    /// <summary>What registering each buffer for its own use would have cost more.</summary>
    public long RegistrationsSaved => Rents - Registrations;

    /// <summary>Millions of bytes a second; 0 where there was nothing to move.</summary>
    public double MegabytesPerSecond => Seconds > 0 ? Bytes / Seconds / 1e6 : 0;
}
