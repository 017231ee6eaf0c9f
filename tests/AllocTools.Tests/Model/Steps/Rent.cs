namespace AllocTools.Tests.Model.Steps;

/// <summary>Rents, or is refused by an exception.</summary>
internal sealed record Rent(LengthPick Length) : Step
{
    public override void Run(PoolModel model) => model.Rent(Length.In(model));
}
