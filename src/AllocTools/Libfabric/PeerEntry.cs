namespace AllocTools.Libfabric;

/// <summary>A peer that an endpoint knows.</summary>
/// <param name="address">Its address, in hexadecimal digits.</param>
/// <param name="generation">Which of those that have had its number it is.</param>
internal sealed class PeerEntry(string address, long generation)
{
    public string Address { get; } = address;

    public long Generation { get; } = generation;

    /// <summary>What its address said of its transport, when it was inserted last; null where it said nothing.</summary>
    public TransportDescription? Transport { get; set; }

    /// <summary>How often it was inserted and not yet removed. Guarded by the table.</summary>
    public int Insertions { get; set; } = 1;
}
