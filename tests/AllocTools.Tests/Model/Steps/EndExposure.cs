namespace AllocTools.Tests.Model.Steps;

/// <summary>Ends an exposure.</summary>
internal sealed record EndExposure(int Buffer, int Exposure) : Step
{
    public override void Run(PoolModel model)
    {
        if (Pick([.. model.Taken.Where(l => l.Exposures.Count > 0)], Buffer) is { } lease)
            model.EndExposure(lease, lease.Exposures[Exposure % lease.Exposures.Count]);
    }
}
