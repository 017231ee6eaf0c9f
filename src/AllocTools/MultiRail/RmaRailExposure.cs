namespace AllocTools.MultiRail;

/// <summary>Memory that peers may access on all rails, until it is disposed.</summary>
/// <remarks>Safe to use from any thread.</remarks>
public sealed class RmaRailExposure : IDisposable
{
    private readonly List<RmaExposure> _exposures = [];
    private readonly byte[] _form;

    internal RmaRailExposure(RmaMultiRail owner, IReadOnlyList<RmaBuffer> buffers, RmaAccess access)
    {
        try
        {
            foreach (RmaBuffer buffer in buffers)
                _exposures.Add(buffer.Expose(access));
        }
        catch
        {
            Dispose();
            throw;
        }
        _form = new RailForm
        {
            Kind = RailForm.Content.Memory,
            Owner = owner.Id,
            Id = Guid.NewGuid(),
            Rails = [.. _exposures.Select((e, i) => new RailForm.Rail(owner.Rails[i].Name, default, e.Remote))],
        }.ToArray();
    }

    /// <summary>Returns the description for peers, which pass it to <see cref="RmaMultiRail.Import"/> (docs/wire-forms.md).</summary>
    public byte[] ToArray() => [.. _form];

    /// <summary>Ends the exposure on all rails.</summary>
    public void Dispose() => _exposures.ForEach(static e => e.Dispose());
}
