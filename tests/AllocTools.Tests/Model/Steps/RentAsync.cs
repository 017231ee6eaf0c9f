namespace AllocTools.Tests.Model.Steps;

/// <summary>Rents, or waits.</summary>
internal sealed record RentAsync(LengthPick Length, bool IsCancelled) : Step
{
    public override void Run(PoolModel model) => model.RentAsync(Length.In(model), IsCancelled);
}
