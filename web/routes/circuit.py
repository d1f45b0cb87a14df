"""One circuit: its page, what is drawn on it, its nodes, edges and supernodes."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, status
from starlette.responses import HTMLResponse, Response

from saebench.circuits import Circuit
from saebench.circuits.attribution import AttributionGraph
from saebench.circuits.exchange import export_circuit, graph_json
from web.errors import RESPONSES
from web.live import live_edge_test
from web.models.circuits import EdgePage, EdgeTested, EdgeWanted, GraphData, Members, NodePage, Title
from web.rendering import json_answer, page
from web.routes.model import MODEL_RESPONSES, answering, live_of
from web.routes.params import Here
from web.views.circuit import CircuitView, curve_figures, graph_data, node_name, pruned, site_name
from web.views.circuit_meaning import names
from web.views.circuit_parts import edge_page, grouped, node_page, taken_apart

router = APIRouter(tags=["circuits"], responses=RESPONSES)
CircuitId = Annotated[str, Path(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,199}$", description="a circuit's id")]
NodeId = Annotated[str, Query(max_length=200, description="a node's id, such as blocks.1.hook_mlp_out/123")]
Influence = Annotated[float | None, Query(gt=0, le=1, description="keep what carries this share of the influence")]
Least = Annotated[float | None, Query(ge=0, le=1e9, description="least size of an effect, or of a weight, either way")]
Name = Annotated[str, Path(pattern=r"^[^/\x00-\x1f]{1,80}$", description="a supernode's name")]


@router.get("/circuits/{circuit_id}.json")
def circuit_json(here: Here, circuit_id: CircuitId) -> Circuit:
    """A circuit as it is kept."""
    return here.circuits.find(circuit_id)


@router.get("/circuits/{circuit_id}", response_class=HTMLResponse)
def circuit_page(request: Request, here: Here, circuit_id: CircuitId) -> HTMLResponse:
    """A circuit's page. What is chosen on it is in its address, which the page itself reads."""
    others = here.circuits.others(circuit_id)
    figures = here.circuits.kept(circuit_id, "curves", curve_figures)
    view = CircuitView(here.circuits.find(circuit_id), figures)
    influence = request.query_params.get("influence")
    return page("circuit.html", page=view, others=others, influence=influence)


@router.patch("/circuits/{circuit_id}", status_code=status.HTTP_204_NO_CONTENT)
def rename(here: Here, circuit_id: CircuitId, body: Title) -> None:
    """Give a circuit another title; its id stays."""
    here.circuits.change(circuit_id, lambda circuit: circuit.model_copy(update={"title": body.title.strip()}))


@router.delete("/circuits/{circuit_id}", status_code=status.HTTP_204_NO_CONTENT)
def delete(here: Here, circuit_id: CircuitId) -> None:
    """Take a circuit away for good; its task and its SAEs stay."""
    here.circuits.delete(circuit_id)


@router.get("/circuits/{circuit_id}/graph.json", response_model=GraphData)
def graph(here: Here, circuit_id: CircuitId, influence: Influence = None) -> Response:
    """Nodes and strongest edges as columns: what the page draws."""
    return json_answer(graph_data(here, circuit_id, influence))


@router.get("/circuits/{circuit_id}/attribution.json", response_model=AttributionGraph)
def attribution(
    here: Here,
    circuit_id: CircuitId,
    influence: Influence = None,
    node_threshold: Least = None,
    edge_threshold: Least = None,
) -> Response:
    """The circuit, or a part of it, as the attribution-graph JSON that other tools read."""
    found = pruned(here.circuits.find(circuit_id), influence, node_threshold, edge_threshold)
    file = graph_json(export_circuit(found, names(here, found, found.nodes)))
    kept = {"Content-Disposition": f'attachment; filename="{circuit_id}.attribution.json"'}
    return Response(file, 200, kept, "application/json")


@router.get("/circuits/{circuit_id}/node.json")
def node_json(here: Here, circuit_id: CircuitId, node: NodeId) -> NodePage:
    """A node with its strongest inputs and outputs, as data."""
    return node_page(here, here.circuits.find(circuit_id), node)


@router.get("/circuits/{circuit_id}/node", response_class=HTMLResponse, include_in_schema=False)
def node_part(here: Here, circuit_id: CircuitId, node: NodeId) -> HTMLResponse:
    """The same for the page's panel."""
    data = node_page(here, here.circuits.find(circuit_id), node)
    return page("circuit_node.html", page=data, node_name=node_name, site_name=site_name)


@router.get("/circuits/{circuit_id}/edge.json")
def edge_json(here: Here, circuit_id: CircuitId, source: NodeId, target: NodeId) -> EdgePage:
    """An edge, as data."""
    return edge_page(here, here.circuits.find(circuit_id), source, target)


@router.get("/circuits/{circuit_id}/edge", response_class=HTMLResponse, include_in_schema=False)
def edge_part(request: Request, here: Here, circuit_id: CircuitId, source: NodeId, target: NodeId) -> HTMLResponse:
    """The same for the page's panel."""
    data = edge_page(here, here.circuits.find(circuit_id), source, target)
    live = request.app.state.live is not None
    return page("circuit_edge.html", page=data, live=live, node_name=node_name, site_name=site_name)


@router.post("/circuits/{circuit_id}/edges/test", responses=MODEL_RESPONSES)
def test_edge(request: Request, here: Here, circuit_id: CircuitId, body: EdgeWanted) -> EdgeTested:
    """Take an edge's source away and see what becomes of its target: what the edge predicts, and what is measured."""
    circuit = here.circuits.find(circuit_id)
    edge = edge_page(here, circuit, body.source, body.target).edge
    with answering():
        found = live_edge_test(live_of(request), here.path, circuit, edge.source, edge.target, body.examples)
    return EdgeTested(
        source=edge.source, target=edge.target, predicted=found.predicted, measured=found.measured, n=found.n
    )


@router.put("/circuits/{circuit_id}/supernodes/{name}", status_code=status.HTTP_204_NO_CONTENT)
def group(here: Here, circuit_id: CircuitId, name: Name, body: Members) -> None:
    """Put nodes together under a name, in place of a supernode of that name."""
    here.circuits.change(circuit_id, lambda circuit: grouped(circuit, name, body.nodes))


@router.delete("/circuits/{circuit_id}/supernodes/{name}", status_code=status.HTTP_204_NO_CONTENT)
def ungroup(here: Here, circuit_id: CircuitId, name: Name) -> None:
    """Take a supernode apart; its nodes stay."""
    here.circuits.change(circuit_id, lambda circuit: taken_apart(circuit, name))
