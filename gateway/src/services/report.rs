//! Figures for analysts.

use std::sync::Arc;

use domain::{
    ids::{ProductId, Region},
    money::Money,
};
use jiff::civil::Date;
use projections::views::sales as view;
use proto::v1::{self, report_service_server::ReportService};
use tonic::{Request, Response, Status};

use super::{Context, convert, envelope, views::Listing};
use crate::error::invalid;

pub(super) struct Reports(pub(super) Arc<Context>);

#[tonic::async_trait]
impl ReportService for Reports {
    async fn list_sales(
        &self,
        request: Request<v1::ListSalesRequest>,
    ) -> Result<Response<v1::ListSalesResponse>, Status> {
        let deadline = envelope::deadline(&self.0, &request);
        let asked = request.into_inner();
        let product: Option<ProductId> = convert::optional_id("product_id", &asked.product_id)?;
        let region: Option<Region> = convert::optional_id("region", &asked.region)?;
        let from = day("from_day", &asked.from_day)?.unwrap_or(Date::MIN);
        let to = day("to_day", &asked.to_day)?.unwrap_or(Date::MAX);
        self.0.views.reached::<view::Sales>(asked.min_position, deadline).await?;
        let position = self.0.views.position::<view::Sales>();
        let query = match (&product, &region) {
            (Some(product), _) => view::of_product(product, from, to),
            (None, Some(region)) => view::in_region(region, from, to),
            (None, None) => view::between(from, to),
        };
        let listing = Listing {
            query: &["ListSales", &asked.product_id, &asked.region, &asked.from_day, &asked.to_day],
            page_size: asked.page_size,
            page_token: &asked.page_token,
        };
        let there = |row: &view::DaySales| region.as_ref().is_none_or(|region| *region == row.region);
        let (rows, next_page_token) = self.0.page(&self.0.views.sales, &query, listing, there).await?;
        let sales = rows.iter().map(shown).collect();
        Ok(Response::new(v1::ListSalesResponse { sales, next_page_token, position }))
    }
}

fn day(field: &str, text: &str) -> Result<Option<Date>, Status> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| invalid(field, "must be a day, YYYY-MM-DD"))
}

fn shown(row: &view::DaySales) -> v1::Sales {
    let units = |units: u64| i64::try_from(units).unwrap_or(i64::MAX);
    v1::Sales {
        product_id: row.product.to_string(),
        region: row.region.to_string(),
        day: row.day.to_string(),
        units_sold: units(row.units_sold),
        revenue: Some(convert::to_money(Money::new(row.amount_sold, row.currency))),
        units_returned: units(row.units_returned),
        refunded: Some(convert::to_money(Money::new(row.amount_returned, row.currency))),
    }
}
