namespace AllocTools.Tests.Model.Steps;

/// <summary>Rents, or reports that there is no room.</summary>
internal sealed record TryRent(LengthPick Length) : Step
{
    public override void Run(PoolModel model) => model.TryRent(Length.In(model));
}
