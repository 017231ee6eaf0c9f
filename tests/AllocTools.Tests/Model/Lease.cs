using AllocTools.Regions;

namespace AllocTools.Tests.Model;

/// <summary>A buffer that was rented, as the model knows it.</summary>
internal sealed class Lease
{
    private readonly byte _pattern;

    public Lease(RmaBuffer buffer, int owner, byte pattern)
    {
        Buffer = buffer;
        Owner = owner;
        Address = buffer.Address;
        Capacity = buffer.Capacity;
        Registration = buffer.Region.Registration;
        _pattern = pattern;
        buffer.Span.Fill(pattern);
    }

    public RmaBuffer Buffer { get; }

    /// <summary>Gets the index of a class, of the direct regions or of the user regions.</summary>
    public int Owner { get; }

    public nint Address { get; }

    public long Capacity { get; }

    public IRmaRegistration Registration { get; }

    public List<HeldBuffer> Holds { get; } = [];

    public List<RmaExposure> Exposures { get; } = [];

    /// <summary>Whether something holds it that has not timed out.</summary>
    public bool IsHeld => Exposures.Count != 0 || Holds.Exists(h => !h.IsQuarantined);

    public bool HasItsPattern => !Buffer.Span.ContainsAnyExcept(_pattern);

    public bool Overlaps(Lease other) => Address < other.Address + (nint)other.Capacity && other.Address < Address + (nint)Capacity;
}
