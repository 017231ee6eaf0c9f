namespace AllocTools;

/// <summary>The statistics of one size class, of the direct regions, of the user regions, or of the cached registrations.</summary>
/// <remarks>Invariant: RentedBuffers + QuarantinedBuffers + IdleBuffers = TotalBuffers.</remarks>
public sealed record RmaSizeClassStatistics
{
    /// <summary>The block size in bytes as a decimal number, or <c>direct</c>, <c>user</c> or <c>cached</c>: the value of the tag <c>rma.size_class</c>.</summary>
    public required string Name { get; init; }

    /// <summary>The size of a block in bytes; 0 if sizes differ.</summary>
    public required long BlockSize { get; init; }

    /// <summary>Registered slabs.</summary>
    public required int Slabs { get; init; }

    /// <summary>Their bytes.</summary>
    public required long RegisteredBytes { get; init; }

    /// <summary>The part of them that is not rented: idle buffers, and the rest of a slab that is less than a buffer.</summary>
    public required long IdleBytes { get; init; }

    /// <summary>The bytes of rented and quarantined buffers, counted in whole blocks.</summary>
    public long RentedBytes => RegisteredBytes - IdleBytes;

    /// <summary>Rents of this class that were served from memory already registered.</summary>
    public required long Hits { get; init; }

    /// <summary>Rents of this class that had to register or to wait for a registration.</summary>
    public required long Misses { get; init; }

    /// <summary>Blocks in all slabs.</summary>
    public required long TotalBuffers { get; init; }

    /// <summary>Blocks that can be rented immediately.</summary>
    public required long IdleBuffers { get; init; }

    /// <summary>Blocks that were returned while an operation or an exposure still holds them, such as one that timed out.</summary>
    public required long QuarantinedBuffers { get; init; }

    /// <summary>Rented blocks.</summary>
    public long RentedBuffers => TotalBuffers - IdleBuffers - QuarantinedBuffers;
}
